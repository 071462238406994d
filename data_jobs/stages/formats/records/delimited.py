"""Parse a table of text (CSV, TSV): find the delimiter and the header, and give Markdown tables whose rows
keep their numbers.

A row has the number that a spreadsheet shows for it: blank rows count, and a field of several lines is one
row. A blank row divides the file into parts, so a title above a table is a paragraph of its own.
"""

import csv
import io
from itertools import groupby

from data_jobs.stages.formats.charset import decode
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput
from data_jobs.stages.formats.page_builder import PageBuilder
from data_jobs.stages.formats.records.delimiter import declared_delimiter, find_delimiter
from data_jobs.stages.formats.records.header import has_header
from data_jobs.stages.formats.text import clean

#: Maximum length of a field, in characters: the largest that the library accepts, because the parsing process
#: limits the memory.
MAX_FIELD = 2**31 - 1

#: A line that no file has, because ``clean`` replaces its first character. It is read after the last line, to
#: see whether a quotation mark is still open.
LAST_LINE = "\x1fend"

Rows = list[list[str]]


def parse(data: bytes, _: ParseOptions) -> ParserOutput:
    """Parse a file of comma-separated values into one page. Other delimiters are found, too."""
    return table_page(data, preferred=",")


def table_page(data: bytes, *, preferred: str) -> ParserOutput:
    """Parse a table into one page.

    Args:
        data: the file.
        preferred: the delimiter of the file's type.
    """
    decoded = decode(data)
    text = clean(decoded.text.replace("\r\r\n", "\n"))  # a line end that was converted twice
    first_row = 1
    declared = declared_delimiter(text)
    if declared is not None:
        text, first_row = text.partition("\n")[2], 2
    page = PageBuilder()
    _add_tables(
        page, _records(text, declared or find_delimiter(text, preferred=preferred)), first_row=first_row
    )
    return ParserOutput(
        pages=[page.text()], facts=decoded.facts, unread=decoded.unread, structure=[page.structure()]
    )


def _records(text: str, delimiter: str) -> Rows:
    """Return the records without empty fields at their ends. If a quotation mark is never closed, the lines
    from its record on are read without quoting, because otherwise they would be one field.
    """
    csv.field_size_limit(MAX_FIELD)
    backslashes = '\\"' in text and '""' not in text and not _is_well_formed(text, delimiter)
    reader = csv.reader(
        io.StringIO(text.removesuffix("\n") + "\n" + LAST_LINE),
        delimiter=delimiter,
        doublequote=not backslashes,
        escapechar="\\" if backslashes else None,
    )
    records, before, read = Rows(), 0, 0
    for record in reader:
        records.append(record)
        before, read = read, reader.line_num
    if records.pop() != [LAST_LINE]:
        rest = text.split("\n", before)[before]
        records += csv.reader(io.StringIO(rest), delimiter=delimiter, quoting=csv.QUOTE_NONE)
    return [_without_empty_end(record) for record in records]


def _is_well_formed(text: str, delimiter: str) -> bool:
    """Return True if each quoted field ends before a delimiter or a line end."""
    try:
        for _ in csv.reader(io.StringIO(text), delimiter=delimiter, strict=True):
            pass
    except csv.Error:
        return False
    return True


def _without_empty_end(record: list[str]) -> list[str]:
    end = len(record)
    while end and not record[end - 1].strip():
        end -= 1
    return record[:end]


def _add_tables(page: PageBuilder, records: Rows, *, first_row: int) -> None:
    """Add each part of the file to the page: a table, or the paragraph of a title or a note."""
    parts = _parts(records)
    for start, rows in parts:
        titles = _title_rows(rows) if len(parts) > 1 or _width(rows) > 1 else 0
        page.paragraph("\n".join(cell for row in rows[:titles] for cell in row if cell))
        table = rows[titles:]
        page.table(table, header=has_header(table), first_row=first_row + start + titles)


def _title_rows(rows: Rows) -> int:
    """Return the number of rows at the beginning that have one cell, and so are a title or a note."""
    return next((at for at, row in enumerate(rows) if sum(map(bool, row)) > 1), len(rows))


def _parts(records: Rows) -> list[tuple[int, Rows]]:
    """Divide the records at blank rows, and return the position of the first row of each part with the rows.
    Neighbouring parts of the same width are one table, in which the blank rows stay.
    """
    parts = list[tuple[int, Rows]]()
    position = 0
    for filled, group in groupby(records, key=bool):
        rows = list(group)
        if filled:
            last = parts[-1] if parts else None
            if last is not None and _width(last[1]) == _width(rows) > 1:
                last[1].extend([[]] * (position - last[0] - len(last[1])) + rows)
            else:
                parts.append((position, rows))
        position += len(rows)
    return parts


def _width(rows: Rows) -> int:
    return max(map(len, rows))
