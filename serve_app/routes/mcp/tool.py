"""Define what a tool is, and the types that the tools share. ``mcp_server`` calls the tools.

TOOL = Tool(name="fetch", title="Read a document", arguments=FetchArguments, answer=Document, run=fetch, ...)
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from cluster.errors import NotFound
from cluster.page_structure import ChunkPlace
from serve_app.edge.request_model import RequestModel
from serve_app.edge.response_model import ResponseModel
from serve_app.embedding.served_model import RequestContext
from serve_app.service import Service

#: Schemes of links that an answer may show as the address of a document.
LINKS = ("https://", "http://")


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCall:
    """The request in which a tool runs."""

    service: Service
    context: RequestContext
    #: Address of this server, without a slash at the end.
    address: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """A tool that a language model can call."""

    name: str
    #: Name of the tool for people.
    title: str
    #: Tells the language model when to call the tool and what the tool returns.
    description: str
    arguments: type[RequestModel]
    answer: type[ResponseModel]
    #: Runs the tool with valid arguments.
    run: Callable[[ToolCall, Any], Awaitable[ResponseModel]]


@dataclass(frozen=True, slots=True)
class PassageId:
    """Names a chunk of a store. ``search`` returns the id, and ``fetch`` takes it."""

    store: str
    chunk: str

    def __str__(self) -> str:
        return f"{self.store}/{self.chunk}"

    @classmethod
    def read(cls, id: str) -> "PassageId":
        """Read the text of an id.

        Raises:
            NotFound: the text does not have the form of an id.
        """
        store, slash, chunk = id.partition("/")
        if not (store and slash and chunk):
            raise NotFound(f"no document {id!r}; send the id of a result of the tool search")
        return cls(store, chunk)


def link_of(call: ToolCall, store: str, file: str, attributes: Mapping[str, Any]) -> str:
    """Return the address of a document: its attribute ``url`` or ``source`` if that is a link, otherwise the
    address of its text at this server.
    """
    for name in ("url", "source"):
        value = attributes.get(name)
        if isinstance(value, str) and value.startswith(LINKS):
            return value
    return f"{call.address}/v1/vector_stores/{quote(store, safe='')}/files/{quote(file, safe='')}/content"


def title_of(filename: str, file: str, page: int | None, place: ChunkPlace) -> str:
    """Return the title of a passage, such as ``handbook.pdf, page 12`` or ``costs.xlsx, Costs, A2:F9``."""
    return ", ".join(filter(None, [filename or file, place.shown(page)]))
