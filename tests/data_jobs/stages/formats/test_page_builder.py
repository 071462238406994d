"""The text of a page says what its blocks say, and its structure says where the blocks are."""

from dataclasses import asdict

import pytest

from cluster.page_structure import PROSE, BlockKind
from data_jobs.stages.formats.page_builder import PageBuilder
from data_jobs.stages.parsing.read_structure import read_structure


def test_a_page_is_its_blocks_in_order_and_knows_where_each_is() -> None:
    page = PageBuilder(label="Costs")
    page.heading("Travel \n costs", level=2)
    page.heading("  ", level=1)
    page.paragraph("Of 2026.\nIn euros.\n")
    page.table([["City", "EUR"], ["Rome|Milan", "4\n10"], ["Oslo"]], first_row=4, columns="A:B")
    page.code("if x:\n    y()")
    page.table([["", " "]])
    text, structure = page.text(), page.structure()

    heading, table, code = structure.blocks

    assert text[heading.start : heading.end] == "Travel costs"
    assert (heading.kind, heading.level) == (BlockKind.HEADING, 2)
    assert text[table.start : table.body] == "| City | EUR |\n| --- | --- |\n"
    assert text[table.body : table.end] == "| Rome\\|Milan | 4 10 |\n| Oslo |  |"
    assert (table.first_row, table.columns) == (5, "A:B")
    assert text[code.start : code.end] == "if x:\n    y()"
    assert text.count("Of 2026.\nIn euros.") == 1
    assert structure.label == "Costs"
    assert read_structure(asdict(structure), length=len(text)) == structure


def test_a_table_without_a_header_is_all_body() -> None:
    page = PageBuilder()
    page.table([["a", "b"], ["c", "d"]], header=False, first_row=7)

    (table,) = page.structure().blocks

    assert (table.start, table.body, table.first_row) == (0, 0, 7)
    assert page.text() == "| a | b |\n| c | d |"


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "picture"},
        {"start": -1},
        {"start": 5, "end": 5},
        {"end": 11},
        {"kind": "table", "body": 11},
        {"level": True},
        {"columns": "A" * 17},
        {"colour": "red"},
    ],
)
def test_a_structure_that_hostile_bytes_could_make_is_refused(wrong: dict[str, object]) -> None:
    block = {"kind": "heading", "start": 0, "end": 4, "level": 1, "body": 0, "first_row": 0, "columns": ""}

    with pytest.raises((ValueError, TypeError)):
        read_structure({"label": "", "blocks": [block | wrong]}, length=10)


def test_blocks_that_overlap_are_refused_and_no_structure_is_prose() -> None:
    one = {"kind": "heading", "start": 0, "end": 4, "level": 1, "body": 0, "first_row": 0, "columns": ""}

    with pytest.raises(ValueError, match="overlap"):
        read_structure({"label": "", "blocks": [one, one | {"start": 3, "end": 6}]}, length=10)
    assert read_structure(None, length=10) == PROSE
