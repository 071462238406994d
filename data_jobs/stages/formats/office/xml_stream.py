"""Read large XML of an untrusted document piece by piece, without a tree.

    class Strings(XmlHandler): ...
    read_stream(package.read("xl/sharedStrings.xml"), Strings())

A document type definition is refused, as in ``xml_tree``.
"""

from collections.abc import Mapping
from typing import Protocol
from xml.parsers import expat

from cluster.records import Outcome
from data_jobs.stages.formats.contract import Unreadable
from data_jobs.stages.formats.office.xml_tree import doctype_refused


class XmlHandler(Protocol):
    """Receives the elements of a document in their order, by their names without namespaces."""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """Receive the start of an element. The names of attributes have no namespaces either."""

    def end(self, name: str) -> None:
        """Receive the end of an element."""

    def text(self, text: str) -> None:
        """Receive text. The parser may pass one text in several pieces."""


def read_stream(data: bytes, handler: XmlHandler) -> None:
    """Pass the elements of a part to a handler.

    Raises:
        Unreadable: the part is not well-formed, or has a document type definition.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    names: dict[str, str] = {}

    def local(name: str) -> str:
        found = names.get(name)
        if found is None:
            found = names[name] = name.rpartition(":")[2]
        return found

    def start(name: str, attributes: Mapping[str, str]) -> None:
        handler.start(local(name), {local(key): value for key, value in attributes.items()})

    def end(name: str) -> None:
        handler.end(local(name))

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = handler.text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as exc:
        raise Unreadable(Outcome.CORRUPT, f"is damaged: its XML cannot be read ({exc})") from exc


def _refuse_doctype(*_: object) -> None:
    raise doctype_refused()
