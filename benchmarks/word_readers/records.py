"""Readers of JSON, XML and reStructuredText: orjson, libxml2 and docutils."""

import re

import orjson
from docutils import nodes
from docutils.core import publish_doctree
from lxml import etree

from benchmarks.word_readers.pages import visible_text

XML_DECLARATION = re.compile(r"\s*<\?xml[^>]*\?>")
#: HTML inside an element, as in feeds.
MARKUP = re.compile(r"</[a-z][a-z0-9]*>|<br\s*/?>|<p>", re.IGNORECASE)
#: Parts of a document that no reader sees, or that docutils adds.
UNSEEN = (
    nodes.comment,
    nodes.system_message,
    nodes.problematic,
    nodes.substitution_definition,
    nodes.raw,
    nodes.generated,
)
SETTINGS = {
    "report_level": 5,
    "halt_level": 5,
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "_disable_config": True,
}


def read_json(data: bytes, _: str) -> str:
    """The values of a JSON file or of JSON lines, and each name once, because a table has it once."""
    try:
        return _words([orjson.loads(data)])
    except orjson.JSONDecodeError:
        return read_json_lines(data, "utf-8")


def read_json_lines(data: bytes, _: str) -> str:
    """The values of all lines, and each name once."""
    return _words([orjson.loads(line) for line in data.splitlines() if line.strip()])


def _words(waiting: list[object]) -> str:
    names, values = set[str](), list[str]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            names |= value.keys()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        else:
            values.append(value if isinstance(value, str) else orjson.dumps(value).decode())
    return "\n".join([*names, *values])


def read_xml(data: bytes, encoding: str) -> str:
    """The text of all elements, by libxml2; the file itself if it is not well-formed. Files in UTF-8 may
    declare another encoding.
    """
    text = data.decode(encoding, "replace")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
    try:
        undeclared = XML_DECLARATION.sub("", text, count=1).lstrip("\ufeff")
        root = etree.fromstring(data if encoding == "utf-8" else undeclared, parser)
    except etree.XMLSyntaxError:
        return text
    texts = [part for part in root.itertext(etree.Element) if part.strip()]
    return "\n".join(visible_text(part) if MARKUP.search(part) else part for part in texts)


def read_restructured(data: bytes, encoding: str) -> str:
    """The text of reStructuredText, by docutils, without the contents and numbers that it adds."""
    document = publish_doctree(data.decode(encoding), settings_overrides=SETTINGS)
    for unseen in UNSEEN:
        for node in list(document.findall(unseen)):
            node.parent.remove(node)
    for topic in list(document.findall(nodes.topic)):
        if "contents" in topic["classes"]:
            topic.parent.remove(topic)
    texts = document.findall(nodes.TextElement)
    return "\n".join(
        text.astext()
        for text in texts
        if not isinstance(text.parent, nodes.TextElement) and not isinstance(text, nodes.target)
    )
