"""Parse XML: paragraphs of mixed text as they are, other elements as lines with their names, titles as
headings.

    <bird id="7"><name>Heron</name><note>Stands <b>still</b>.</note></bird>

becomes

    bird id: 7
    name: Heron
    note: Stands still.

Nothing is fetched, because external entities are left out. An internal entity is replaced only if its value
is plain text, and only as often as the size of the file allows, so that the text cannot grow without limit.
"""

import re
from html.entities import html5
from typing import Any
from xml.parsers import expat

from cluster.records import Fact
from data_jobs.stages.formats.charset import decode
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput
from data_jobs.stages.formats.page_builder import PageBuilder
from data_jobs.stages.formats.records.xml_tree import XmlReader
from data_jobs.stages.formats.text import clean

#: The XML declaration. It is removed, because its encoding is not the encoding of the decoded text.
DECLARATION = re.compile(r"\s*<\?xml\b[^>]*\?>")
#: An entity. XML itself defines five entities. ``html5`` has names that authors use without a declaration.
ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")
OWN_ENTITIES = frozenset({"amp", "lt", "gt", "quot", "apos"})
DECLARED_ENTITY = re.compile(r"<!ENTITY\s+(\S+)")


def parse(data: bytes, _: ParseOptions) -> ParserOutput:
    """Parse an XML file into one page. A file that is not well-formed is read as plain text, and a fact says
    what is wrong.
    """
    decoded = decode(data)
    facts = dict[Fact, Any](decoded.facts)
    whole = clean(decoded.text)
    declaration = DECLARATION.match(whole)
    text = whole[declaration.end() :] if declaration else whole
    page = PageBuilder()
    try:
        XmlReader(page, max_expanded=len(text)).read(_with_known_entities(text))
    except expat.ExpatError as exc:
        facts[Fact.MALFORMED] = str(exc)
        page = PageBuilder()
        page.paragraph(whole)
    return ParserOutput(pages=[page.text()], facts=facts, unread=decoded.unread, structure=[page.structure()])


def _with_known_entities(text: str) -> str:
    """Replace the entities of HTML, such as ``&nbsp;``, that the document does not declare."""
    declared = OWN_ENTITIES | set(DECLARED_ENTITY.findall(text))

    def character(found: re.Match[str]) -> str:
        known = None if found[1] in declared else html5.get(f"{found[1]};")
        return found[0] if known is None or known in "<&" else known

    return ENTITY.sub(character, text)
