"""Parse JSON: give every value a line with its path, arrays of similar objects as tables, and large parts
headings.

    {"name": "pump", "size": {"mm": 40}, "tags": ["old", "red"]}

becomes

    name: pump
    size.mm: 40
    tags: old, red

Numbers keep their spelling, and repeated names of an object are all kept.
"""

import json
from typing import Any

from cluster.records import Fact
from data_jobs.stages.formats.charset import decode
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput
from data_jobs.stages.formats.page_builder import PageBuilder
from data_jobs.stages.formats.records.json_lines import add_lines, read_lines
from data_jobs.stages.formats.records.json_values import add_value, load
from data_jobs.stages.formats.text import clean


def parse(data: bytes, _: ParseOptions) -> ParserOutput:
    """Parse a JSON file into one page.

    If each line of the file is a JSON value, the file is read as JSON lines. Any other file that is not valid
    JSON is read as plain text, and a fact says what is wrong.
    """
    decoded = decode(data)
    page, facts = PageBuilder(), dict[Fact, Any](decoded.facts)
    text = clean(decoded.text)
    try:
        add_value(page, load(text))
    except ValueError as exc:
        lines = read_lines(text) if isinstance(exc, json.JSONDecodeError) and "Extra" in exc.msg else None
        if lines is not None and not lines.faulty:
            add_lines(page, lines)
        else:
            facts[Fact.MALFORMED] = str(exc)
            page.paragraph(text)
    return ParserOutput(pages=[page.text()], facts=facts, unread=decoded.unread, structure=[page.structure()])
