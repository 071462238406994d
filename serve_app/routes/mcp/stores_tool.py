"""The tool ``list_vector_stores``: list the vector stores of the organisation.

``mcp_server`` calls ``list_vector_stores`` through ``LIST_VECTOR_STORES``.
"""

from typing import Annotated, Any

from psycopg import Connection
from pydantic import Field

from cluster.database.paging import ListPage, PageRequest
from cluster.documents.vector_stores import stores
from cluster.documents.vector_stores.store_usage import StoreUsage, usage_of
from cluster.documents.vector_stores.stores import VectorStore
from serve_app.edge.request_model import RequestModel, Text, Whole
from serve_app.edge.response_model import ResponseModel
from serve_app.routes.mcp.tool import Tool, ToolCall


class ListArguments(RequestModel):
    """The arguments of the tool `list_vector_stores`."""

    limit: Annotated[Whole, Field(ge=1, le=100)] = 50
    """Maximum number of stores."""
    after: Text | None = None
    """`next_after` of the previous answer, to list more stores."""


class ListedStore(ResponseModel):
    """A vector store: a named set of documents."""

    id: str
    """Id of the store, for `vector_stores` of the tool `search`."""
    name: str
    """Name of the store; empty if the store has no name."""
    description: str
    """What the store contains, in the words of its owner; empty if its owner has not said."""
    files: int
    """Number of files that are searchable."""
    searchable: bool
    """False if the store takes only vectors, which the tool `search` cannot make."""
    metadata: dict[str, str]
    """Named values that the owner gave to the store."""


class StoreList(ResponseModel):
    """The result of the tool `list_vector_stores`."""

    vector_stores: list[ListedStore]
    """The stores, newest first."""
    next_after: str | None
    """Value of `after` for the next stores; null if there are no more stores."""


async def list_vector_stores(call: ToolCall, arguments: ListArguments) -> StoreList:
    """List the stores that the caller may use and that have not expired."""
    organisation = call.context.organisation
    page = PageRequest(limit=arguments.limit, after=arguments.after)

    def read(connection: Connection[Any]) -> tuple[ListPage[VectorStore], dict[str, StoreUsage]]:
        found = stores.list_stores(connection, organisation, page)
        return found, usage_of(connection, organisation, [store.id for store in found.items])

    found, usage = await call.service.read(read)
    return StoreList(
        vector_stores=[
            ListedStore(
                id=store.id,
                name=store.name,
                description=store.description,
                files=usage[store.id].files.completed,
                searchable=not store.fingerprint.given,
                metadata=store.metadata,
            )
            for store in found.items
            if not store.expired
        ],
        next_after=found.items[-1].id if found.has_more else None,
    )


LIST_VECTOR_STORES = Tool(
    name="list_vector_stores",
    title="List vector stores",
    description=(
        "List the sets of documents (vector stores) of this organisation, each with its name and what it "
        "contains. Use the ids or names to limit the tool search to some stores."
    ),
    arguments=ListArguments,
    answer=StoreList,
    run=list_vector_stores,
)
