"""Tables of text keep every cell and the number of every row, whatever the dialect."""

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cluster.page_structure import Block
from data_jobs.stages.formats.contract import ParseOptions
from data_jobs.stages.formats.records import delimited, tab_separated
from data_jobs.stages.formats.records.header import has_header

OPTIONS = ParseOptions(max_pages=10)


def read(text: str | bytes) -> tuple[str, list[Block]]:
    data = text.encode() if isinstance(text, str) else text
    output = delimited.parse(data, OPTIONS)
    return output.pages[0], list(output.structure[0].blocks)


@pytest.mark.parametrize(
    "text",
    [
        'city,EUR,note\nRome,"1,5",x\nOslo,2.5,"two\nlines"\n',
        'city;EUR;note\r\nRome;1,5;x\r\nOslo;2.5;"two\r\nlines"\r\n',
        "city\tEUR\tnote\nRome\t1,5\tx\nOslo\t2.5\ttwo lines",
        "city|EUR|note\nRome|1,5|x\nOslo|2.5|two lines",
        "sep=;\ncity;EUR;note\nRome;1,5;x\nOslo;2.5;two lines",
        "city,EUR,note,,,\nRome,'1,5',x,,,\n".replace("'", '"') + 'Oslo,2.5,"two   lines",,,\n,,,,,\n',
        "city;EUR;note\r\r\nRome;1,5;x\r\r\nOslo;2.5;two lines\r\r\n",
        "\ufeffcity;EUR;note\nRome;1,5;x\nOslo;2.5;two lines",
    ],
    ids=["commas", "semicolons", "tabs", "bars", "declared", "empty-columns", "doubled-ends", "mark"],
)
def test_every_dialect_gives_the_same_table(text: str) -> None:
    shown, blocks = read(text)
    header = "| city | EUR | note |\n| --- | --- | --- |\n"
    assert shown == f"{header}| Rome | 1,5 | x |\n| Oslo | 2.5 | two lines |"
    first_row = 3 if text.startswith("sep") else 2
    assert [(block.body, block.first_row) for block in blocks] == [(len(header), first_row)]


def test_the_rows_have_the_numbers_of_a_spreadsheet() -> None:
    shown, (table,) = read("Costs of 2026;;\n;;\ncity;EUR\nRome;1\n\nOslo;2\n")
    assert shown.startswith("Costs of 2026\n\n| city | EUR |")
    rows = shown[table.body : table.end].split("\n")
    assert {row.strip("| "): number for number, row in enumerate(rows, table.first_row)} == {
        "Rome | 1": 4,
        "": 5,
        "Oslo | 2": 6,
    }


def test_an_open_quotation_mark_hides_no_row() -> None:
    shown, _ = read('a,b\n1,"open\n2,y\n3,z\n')
    assert shown.split("\n")[2:] == ['| 1 | "open |', "| 2 | y |", "| 3 | z |"]


def test_backslashes_escape_quotation_marks() -> None:
    shown, _ = read('a,b\n"the \\"big, big\\" one",2\n')
    assert shown.endswith('| the "big, big" one | 2 |')


def test_tab_separated_files_keep_commas() -> None:
    output = tab_separated.parse(b"a,b\tc,d\n1,2\t3,4\n", OPTIONS)
    assert output.pages == ["| a,b | c,d |\n| --- | --- |\n| 1,2 | 3,4 |"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([["city", "EUR"], ["Rome", "410"]], True),
        ([["name", "town"], ["Ann", "Rome"], ["Bob", "Oslo"]], True),
        ([["country", "2025", "2026"], ["Peru", "1.5", "2"]], True),
        ([["Rome", "410.50"], ["Oslo", "380.00"]], False),
        ([["2026-01-05", "x"], ["2026-01-06", "y"]], False),
        ([["ann@example.org", "yes"], ["bob@example.org", "no"]], False),
        ([["yes", "warm"], ["no", "cold"], ["yes", "warm"]], False),
        ([["1", "2"], ["3", "4"]], False),
        ([["apples"], ["pears"]], False),
        ([["amount"], ["5"]], True),
        ([["alone", "here"]], False),
    ],
)
def test_a_first_row_that_names_the_columns_is_a_header(rows: list[list[str]], expected: bool) -> None:
    assert has_header(rows) is expected


def test_one_very_wide_row_needs_little_memory() -> None:
    shown, _ = read("," * 100_000 + "x\n" + "a,b\n" * 2_000)
    assert len(shown) < 1_000_000
    assert shown.endswith("| a | b |")


CELL = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="|\ufeff"), max_size=8
)


@example([["", "", ";"], ["", "0"]])
@example([["0", "\\"]])
@given(st.lists(st.lists(CELL, min_size=2, max_size=5), min_size=1, max_size=6))
def test_no_cell_is_lost(rows: list[list[str]]) -> None:
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows(rows)
    shown, _ = read(file.getvalue())
    kept = [char for char in "".join(cell for row in rows for cell in row) if not char.isspace()]
    assert sorted(kept) == sorted(
        char for char in shown.replace("| --- ", "").replace("|", "") if not char.isspace()
    )
