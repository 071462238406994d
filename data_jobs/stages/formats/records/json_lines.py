"""Parse JSON lines: similar records become one table whose rows have the numbers of the lines; other records
get the headings "Line 1", "Line 2" and so on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cluster.records import Fact
from data_jobs.stages.formats.charset import decode
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput
from data_jobs.stages.formats.page_builder import PageBuilder
from data_jobs.stages.formats.records.json_values import Value, add_value, as_table, load
from data_jobs.stages.formats.text import clean


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonLines:
    """The lines of a file that are not blank."""

    #: Number of each line, from 1, and the value of the line; the text of a line that is not valid JSON.
    values: Sequence[tuple[int, Value]]
    #: What is wrong with the first line that is not valid JSON; "" if all lines are valid.
    faulty: str


def parse(data: bytes, _: ParseOptions) -> ParserOutput:
    """Parse a file of JSON lines into one page. A line that is not valid JSON is read as plain text, and a
    fact says what is wrong with the first such line.
    """
    decoded = decode(data)
    page, facts = PageBuilder(), dict[Fact, Any](decoded.facts)
    lines = read_lines(clean(decoded.text))
    add_lines(page, lines)
    if lines.faulty:
        facts[Fact.MALFORMED] = lines.faulty
    return ParserOutput(pages=[page.text()], facts=facts, unread=decoded.unread, structure=[page.structure()])


def read_lines(text: str) -> JsonLines:
    """Read each line of the text."""
    values, faulty = list[tuple[int, Value]](), ""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values.append((number, load(line)))
        except ValueError as exc:
            faulty = faulty or f"line {number:,}: {exc}"
            values.append((number, line))
    return JsonLines(values=values, faulty=faulty)


def add_lines(page: PageBuilder, lines: JsonLines) -> None:
    """Add the lines to the page, as a table if possible."""
    numbers = [number for number, _ in lines.values]
    rows = as_table([value for _, value in lines.values]) if lines.values else []
    if rows:
        head, first, last = rows[0], numbers[0], numbers[-1]
        placed = dict(zip(numbers, rows[1:], strict=True))
        page.table(
            [head, *(placed.get(number, []) for number in range(first, last + 1))], first_row=first - 1
        )
        return
    for number, value in lines.values:
        page.heading(f"Line {number}", level=1)
        add_value(page, value, level=2)
