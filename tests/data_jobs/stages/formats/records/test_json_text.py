"""JSON and JSON lines become readable text that keeps every name and every value."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.page_structure import BlockKind
from cluster.records import Fact
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput
from data_jobs.stages.formats.records import json_lines, json_text

OPTIONS = ParseOptions(max_pages=10)


def parse(text: str) -> ParserOutput:
    return json_text.parse(text.encode(), OPTIONS)


def test_every_value_has_its_path() -> None:
    text = """{"name": "pump", "name": "again", "size": {"mm": 40, "exact": 1.50, "huge": 1e400},
        "tags": ["old", "red"], "grid": [[1, 2], [3]], "none": null, "on": true, "empty": {}, "list": []}"""
    assert parse(text).pages == [
        "name: pump\nname: again\nsize.mm: 40\nsize.exact: 1.50\nsize.huge: 1e400\ntags: old, red\n"
        "grid[0]: 1, 2\ngrid[1]: 3\nnone: null\non: true\nempty: {}\nlist: []"
    ]


def test_similar_objects_are_a_table_under_a_heading() -> None:
    output = parse('{"title": "Costs", "rows": [{"city": "Rome", "EUR": 1}, {"city": "Oslo", "x": [2, 3]}]}')
    assert output.pages == [
        "title: Costs\n\nrows\n\n| city | EUR | x |\n| --- | --- | --- |\n| Rome | 1 |  |\n| Oslo |  | 2, 3 |"
    ]
    heading, table = output.structure[0].blocks
    assert (heading.kind, heading.level) == (BlockKind.HEADING, 1)
    assert (table.kind, table.first_row) == (BlockKind.TABLE, 1)
    assert output.pages[0][table.body :].startswith("| Rome")


def test_a_large_part_has_a_heading_and_paths_that_begin_there() -> None:
    note = "words " * 200
    output = parse(
        json.dumps({"id": 1, "a": {"b": {"note": note}}, "z": 2, "l": [{"n": note}, {"k": {"m": 1}}]})
    )
    headings = [
        (output.pages[0][block.start : block.end], block.level)
        for block in output.structure[0].blocks
        if block.kind is BlockKind.HEADING
    ]
    assert output.pages[0].startswith("id: 1\nz: 2\n\na\n\nb\n\nnote: words words")
    assert headings == [("a", 1), ("b", 2), ("l", 1), ("[0]", 2), ("[1]", 2)]
    assert output.pages[0].endswith("[1]\n\nk.m: 1")


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ('{"a": 1,\n "b": }', "Expecting value: line 2 column 7 (char 15)"),
        ('{"a": "cut', "Unterminated string starting at: line 1 column 7 (char 6)"),
        ("[" * 100_000, "the values are nested too deeply"),
        ('// a comment\n{"a": 1}', "Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_a_file_that_is_not_valid_is_read_as_text(text: str, fact: str) -> None:
    output = parse(text)
    assert output.pages == [text]
    assert output.facts[Fact.MALFORMED] == fact


def test_similar_lines_are_a_table_with_the_numbers_of_the_lines() -> None:
    output = json_lines.parse(b'\n{"q": "why", "n": 1}\n\n{"q": "how", "n": 2}\n', OPTIONS)
    (table,) = output.structure[0].blocks
    assert output.pages[0][table.body :].split("\n") == ["| why | 1 |", "|  |  |", "| how | 2 |"]
    assert table.first_row == 2


def test_other_lines_have_headings_and_a_wrong_line_is_kept() -> None:
    output = json_lines.parse(b'{"text": "one"}\n{"meta": {"a": 1}}\n{"cut\n', OPTIONS)
    assert output.pages == ['Line 1\n\ntext: one\n\nLine 2\n\nmeta.a: 1\n\nLine 3\n\n{"cut']
    assert str(output.facts[Fact.MALFORMED]).startswith("line 3: ")


def test_a_json_file_may_hold_lines() -> None:
    assert parse('{"a": 1}\n{"a": 2}\n').pages == ["| a |\n| --- |\n| 1 |\n| 2 |"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abcXYZ \n", max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_no_word_is_lost(value: object) -> None:
    found = set(
        parse(json.dumps(value))
        .pages[0]
        .replace("[", " ")
        .replace("]", " ")
        .replace(".", " ")
        .replace(":", " ")
        .replace(",", " ")
        .replace("|", " ")
        .split()
    )
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            waiting += item
        else:
            assert set((item if isinstance(item, str) else json.dumps(item)).split()) <= found
