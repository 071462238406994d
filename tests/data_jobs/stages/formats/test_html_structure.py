"""HTML and Markdown give headings, tables and code as the structure of their page."""

import re

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cluster.page_structure import Block, BlockKind
from cluster.settings import Settings
from data_jobs.stages.formats import html, markdown
from data_jobs.stages.formats.contract import ParseOptions
from data_jobs.stages.formats.html import HtmlPage, read_page
from data_jobs.stages.parsing.parser import Parser

DOCUMENT = """
<title>Birds</title><h1>Nests <em>of 2026</em></h1><p>Some text.</p>
<h2>Trees</h2>
<table><caption>By tree</caption>
<thead><tr><th>Bird</th><th>Nest</th></tr></thead>
<tr><td>Rook</td><td rowspan=2>tall<br>elm</td></tr><tr><td>Daw &amp; crow</td></tr>
<tr><td colspan=2>a | b</td></tr></table>
<pre>def f():

    return 1
</pre><p>The end.</p>
"""
TABLE = "| Bird | Nest |\n| --- | --- |\n| Rook | tall elm |\n| Daw & crow | tall elm |\n| a \\| b |  |"


def shown(page: HtmlPage) -> list[tuple[str, str]]:
    return [(block.kind, page.text[block.start : block.end]) for block in page.structure.blocks]


def test_a_page_has_its_headings_tables_and_code() -> None:
    page = read_page(DOCUMENT)
    assert shown(page) == [
        ("heading", "Nests of 2026"),
        ("heading", "Trees"),
        ("table", TABLE),
        ("code", "def f():\n\n    return 1"),
    ]
    heading, _, table, _ = page.structure.blocks
    assert (heading.level, table.first_row) == (1, 2)
    assert page.text[table.body :].startswith("| Rook |")
    assert page.text.startswith("Birds\n\nNests of 2026\n\nSome text.\n\nTrees\n\nBy tree\n\n| Bird |")


def test_markdown_has_the_same_structure() -> None:
    source = "# Nests\n\nText\n\n| Bird | Nest |\n|---|---|\n| Rook | elm |\n\n```python\nf()\n```\n"
    output = markdown.parse(source.encode(), ParseOptions(max_pages=1))
    (text,), (structure,) = output.pages, output.structure
    assert text == "Nests\n\nText\n\n| Bird | Nest |\n| --- | --- |\n| Rook | elm |\n\nf()"
    assert [(block.kind, text[block.start : block.end]) for block in structure.blocks] == [
        (BlockKind.HEADING, "Nests"),
        (BlockKind.TABLE, "| Bird | Nest |\n| --- | --- |\n| Rook | elm |"),
        (BlockKind.CODE, "f()"),
    ]


@pytest.mark.parametrize(
    "markup",
    [
        "<table><tr><td>1<td>2</table>",
        "<table role=presentation><tr><td>1<td>2<tr><td>3<td>4</table>",
        "<table><tr><td>1<tr><td>2</table>",
        "<table><tr><td><h1>1</h1><td>2<tr><td>3<td>4</table>",
        f"<table><tr><td>1<td>{'x ' * 600}<tr><td>3<td>4</table>",
        f"<table><tr><td colspan=99>1<td>2<tr>{'<td>3' * 70}</table>",
    ],
    ids=["one row", "presentation", "one column", "a heading", "a long cell", "too many columns"],
)
def test_a_table_that_arranges_the_page_is_read_block_by_block(markup: str) -> None:
    page = read_page(markup)
    assert "|" not in page.text
    assert not [block for block in page.structure.blocks if block.kind is BlockKind.TABLE]


def test_hidden_rows_and_cells_are_left_out_and_counted() -> None:
    hidden = "<tr hidden><td>secret<td>too"
    page = read_page(f"<table><tr><th>a<th>b{hidden}<tr><td>c<td><i style='display:none'>no</i>d</table>")
    assert page.text == "| a | b |\n| --- | --- |\n| c | d |"
    assert page.hidden == len("secrettoono")


def test_spans_cannot_fill_the_memory() -> None:
    rows = "<tr><td rowspan=65000 colspan=60>" + "x" * 90 + "<td>y" + "<tr><td>z" * 20_000
    assert len(read_page(f"<table>{rows}</table>").text) < 10_000_000


CELL = st.sampled_from(
    ["word", "a/b", "two words", "<b>bold</b>", "<p>one</p><p>two</p>", "<ul><li>item</ul>"]
)


def element(name: str, content: str) -> str:
    return f"<{name}>{content}</{name}>"


def table(rows: list[list[str]]) -> str:
    return element(
        "table", "".join(element("tr", "".join(element("td", one) for one in row)) for row in rows)
    )


PART = st.one_of(
    st.builds(element, st.sampled_from(["p", "h1", "h3", "pre", "div"]), CELL),
    st.lists(st.lists(CELL, min_size=1, max_size=4), min_size=1, max_size=5).map(table),
)


@hypothesis_settings(max_examples=60)
@given(st.lists(PART, max_size=6).map("".join))
def test_structure_loses_no_word(markup: str) -> None:
    page = read_page(markup)
    assert page.text.replace("|", " ").split() == re.sub("<[^>]*>", " ", markup).split()
    ends = [0, *(block.end for block in page.structure.blocks)]
    assert all(block.start >= end for block, end in zip(page.structure.blocks, ends, strict=False))


def test_the_structure_reaches_the_parsed_document() -> None:
    with Parser(Settings()) as parser:
        parsed = parser.parse(DOCUMENT.encode(), name="birds.html")
    (page,) = parsed.pages
    assert page.structure == html.parse(DOCUMENT.encode(), ParseOptions(max_pages=1)).structure[0]
    first = page.structure.blocks[0]
    assert first == Block(kind=BlockKind.HEADING, start=7, end=20, level=1)
