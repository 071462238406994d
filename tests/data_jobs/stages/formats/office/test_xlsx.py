"""Each sheet is a page. Its tables know their exact cells, and its values are what Excel shows."""

import time

from cluster.page_structure import BlockKind
from cluster.records import NO_PAGE, Fact
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput
from data_jobs.stages.formats.office.xlsx import parse
from tests.data_jobs.stages.formats.office.packages import xlsx_of

STYLES = (
    '<x:numFmts><x:numFmt numFmtId="164" formatCode="dd.mm.yyyy"/></x:numFmts>'
    '<x:cellXfs><x:xf numFmtId="0"/><x:xf numFmtId="164"/><x:xf numFmtId="10"/></x:cellXfs>'
)


def read(*sheets: str, **options: object) -> ParserOutput:
    """Parse a workbook of these sheets."""
    return parse(xlsx_of(*sheets, **options), ParseOptions(max_pages=10))  # type: ignore[arg-type]


def rows(first: int, *cells: str, column: str = "A") -> str:
    """Rows of text cells; ``a|b`` is a row of two cells."""
    return "".join(
        f'<row r="{number}">'
        + "".join(
            f'<c r="{chr(ord(column) + at)}{number}" {kind_of(value)}><v>{value}</v></c>'
            for at, value in enumerate(row.split("|"))
            if value
        )
        + "</row>"
        for number, row in enumerate(cells, start=first)
    )


def kind_of(value: str) -> str:
    """The attribute of a cell's type."""
    return "" if value.replace(".", "").isdigit() else 't="str"'


def test_blank_rows_separate_tables_which_know_their_cells() -> None:
    output = read(
        rows(2, "Sales of 2026", "City|EUR|Note", "Rome|410|", "Oslo|95|cold")
        + rows(9, "1.5|b", "2.5|d", column="C")
    )

    (text,), (structure,) = output.pages, output.structure
    sales, plain = structure.blocks

    assert text.startswith("Sales of 2026\n\n| City | EUR | Note |\n| --- | --- | --- |\n| Rome | 410 |  |\n")
    assert (sales.kind, sales.columns, sales.first_row) == (BlockKind.TABLE, "A:C", 4)
    assert text[sales.body : sales.end] == "| Rome | 410 |  |\n| Oslo | 95 | cold |"
    assert (plain.columns, plain.first_row, plain.body) == ("C:D", 9, plain.start)
    assert structure.label == "Sheet 1"


def test_blank_columns_separate_tables_unless_a_merged_cell_covers_them() -> None:
    apart = rows(1, "a|b|||e|f", "1|2|||5|6")
    form = rows(1, "Name||||Bob", "Age||||42")
    merged = '<mergeCells><mergeCell ref="A1:D1"/><mergeCell ref="A2:D2"/></mergeCells>'
    output = read(apart, form + merged)

    assert [block.columns for block in output.structure[0].blocks] == ["A:B", "E:F"]
    assert output.pages[1] == "| Name | Bob |\n| --- | --- |\n| Age | 42 |"
    assert [block.columns for block in output.structure[1].blocks] == ["A:E"]


def test_values_are_shown_as_excel_shows_them() -> None:
    cells = (
        '<row r="1"><c t="s"><v>1</v></c><c t="inlineStr"><is><r><t>in</t></r><r><t>line</t></r>'
        '<rPh sb="0" eb="1"><t>spoken</t></rPh></is></c><c t="b"><v>1</v></c><c t="e"><v>#N/A</v></c>'
        '<c s="1"><v>46355</v></c><c s="2"><v>0.125</v></c><c><f>A1*2</f><v>0.30000000000000004</v></c>'
        '<c t="str"><v>a_x000D_b</v></c><c s="99"><v>1E+20</v></c><c t="s"><v>77</v></c></row>'
    )
    shared = "<x:si><x:t>zero</x:t></x:si><x:si><x:r><x:t>on</x:t></x:r><x:r><x:t>e</x:t></x:r></x:si>"

    output = read(cells, strings=shared, styles=STYLES)

    assert output.pages == ["| one | inline | TRUE | #N/A | 29.11.2026 | 12.50% | 0.3 | a b | 1e+20 |"]


def test_hidden_sheets_are_left_out_and_counted() -> None:
    output = read(rows(1, "one"), rows(1, "two"), rows(1, "three"), states={1: "hidden", 3: "veryHidden"})
    assert (output.pages, output.facts) == (["", "| two |", ""], {Fact.HIDDEN_PAGES: 2})


def test_formulas_without_a_stored_result_are_counted() -> None:
    output = read(rows(1, "a") + '<row r="2"><c><f>SUM(A1)</f></c><c t="str"><f>""</f><v></v></c></row>')
    assert output.unread == {
        NO_PAGE: "has 1 formulas without a stored result, which were left out: open it in a spreadsheet "
        "program and save it"
    }


def test_a_damaged_sheet_is_named_and_the_others_are_read() -> None:
    output = read(rows(1, "one"), "<broken")
    assert (output.pages, output.unread) == (["| one |", ""], {2: "is damaged"})


def test_cells_far_apart_do_not_make_an_endless_table() -> None:
    diagonal = "".join(
        f'<row r="{at}"><c r="{letters(at)}{at}"><v>{at}</v></c></row>' for at in range(1, 16_385)
    )
    merged = "<mergeCells>" + '<mergeCell ref="A1:XFD1048576"/>' * 1000 + "</mergeCells>"
    start = time.process_time()
    output = read(diagonal + merged, rows(1, "a") + '<row r="1048576"><c r="XFD1048576"><v>9</v></c></row>')

    assert output.pages[0].endswith("\nXFD16384: 16384")
    assert len(output.pages[0]) < 1_000_000
    assert [block.columns for block in output.structure[1].blocks] == ["A:A", "XFD:XFD"]
    assert time.process_time() - start < 10


def letters(column: int) -> str:
    """The name of a column."""
    return letters((column - 1) // 26) + chr(ord("A") + (column - 1) % 26) if column else ""
