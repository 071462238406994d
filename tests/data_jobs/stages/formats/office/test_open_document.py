"""OpenDocument files are read like the files of Word, PowerPoint and Excel."""

import pytest

from cluster.page_structure import BlockKind
from cluster.records import Fact, Outcome
from data_jobs.stages.formats.contract import ParseOptions, Unreadable
from data_jobs.stages.formats.office import odp, ods, odt
from tests.data_jobs.stages.formats.office.packages import odf_of

OPTIONS = ParseOptions(max_pages=10)
LISTS = (
    '<text:list-style style:name="L1"><text:list-level-style-number text:level="1" style:num-format="1" '
    'style:num-suffix="."/><text:list-level-style-number text:level="2" style:num-format="a" '
    'style:num-suffix=")" text:display-levels="2"/></text:list-style>'
)
STYLES = (
    '<style:style style:name="P1" style:family="paragraph" style:parent-style-name="Title"/>'
    '<style:style style:name="P2" style:family="paragraph" style:parent-style-name="Preformatted_20_Text"/>'
    '<style:style style:name="T1" style:family="text"><style:text-properties text:display="none"/>'
    "</style:style>"
)
MASTER = (
    '<style:style style:name="Title" style:family="paragraph"/>'
    '<style:style style:name="Preformatted_20_Text" style:family="paragraph"/>'
    '<text:outline-style><text:outline-level-style text:level="1" style:num-format="1"/>'
    '<text:outline-level-style text:level="2" style:num-format="1" text:display-levels="2"/>'
    "</text:outline-style>"
    "<office:master-styles><style:master-page><style:header><text:p>ACME</text:p></style:header>"
    "<style:header-left><text:p>ACME</text:p></style:header-left><style:footer><text:p>Secret</text:p>"
    "</style:footer></style:master-page></office:master-styles>"
)


def items(*texts: str) -> str:
    """Items of a list; an item is text or XML."""
    return "".join(
        f"<text:list-item>{text if text.startswith('<') else f'<text:p>{text}</text:p>'}</text:list-item>"
        for text in texts
    )


def test_a_text_keeps_headings_lists_tables_notes_and_code() -> None:
    inner = f"<text:p>two</text:p><text:list>{items('deep')}</text:list>"
    output = odt.parse(
        odf_of(
            "text",
            "<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>"
            '<text:p text:style-name="P1">Guide</text:p><text:h text:outline-level="1">Scope</text:h>'
            '<text:h text:outline-level="2">Birds</text:h>'
            "<text:p>Herons<text:note><text:note-citation>1</text:note-citation><text:note-body>"
            "<text:p>Ardea</text:p></text:note-body></text:note> stand<text:s text:c='2'/>still<text:tab/>a"
            '<text:line-break/>b<text:span text:style-name="T1">unseen</text:span>'
            "<office:annotation><text:p>comment</text:p></office:annotation></text:p>"
            f'<text:list text:style-name="L1">{items("one", inner)}</text:list>'
            f'<text:list text:style-name="L1" text:continue-numbering="true">{items("three")}</text:list>'
            f"<text:list>{items('plain')}</text:list>"
            '<text:p text:style-name="P2">if x:</text:p>'
            '<text:p text:style-name="P2"><text:s text:c="2"/>y()</text:p>'
            "<text:p>box<draw:frame> <draw:text-box><text:p>boxed</text:p></draw:text-box>"
            "<svg:desc>A heron</svg:desc></draw:frame></text:p>"
            "<table:table><table:table-header-rows><table:table-row><table:table-cell><text:p>City</text:p>"
            "</table:table-cell><table:table-cell><text:p>EUR</text:p></table:table-cell></table:table-row>"
            "</table:table-header-rows><table:table-row><table:table-cell table:number-columns-spanned='2'>"
            "<text:p>Rome</text:p></table:table-cell><table:covered-table-cell/></table:table-row></table:table>",
            automatic=STYLES + LISTS,
            master=MASTER,
        ),
        OPTIONS,
    )

    assert output.pages == [
        "ACME\n\nGuide\n\n1 Scope\n\n1.1 Birds\n\nHerons[1] stand  still\ta\nb\n\n[1] Ardea\n\n"
        "1. one\n2. two\n  2.a) deep\n\n3. three\n\n- plain\n\nif x:\n  y()\n\nbox A heron \n\nboxed\n\n"
        "| City | EUR |\n| --- | --- |\n| Rome |  |\n\nSecret"
    ]
    assert [(block.kind, block.level) for block in output.structure[0].blocks] == [
        (BlockKind.HEADING, 1),
        (BlockKind.HEADING, 1),
        (BlockKind.HEADING, 2),
        (BlockKind.CODE, 0),
        (BlockKind.TABLE, 0),
    ]
    assert output.facts == {Fact.HIDDEN_CHARACTERS: len("unseen")}


def test_a_slide_has_its_title_its_text_and_its_notes() -> None:
    def frame(text: str, kind: str) -> str:
        return f'<draw:frame presentation:class="{kind}"><draw:text-box>{text}</draw:text-box></draw:frame>'

    hidden = (
        '<style:style style:name="dp2" style:family="drawing-page">'
        '<style:drawing-page-properties presentation:visibility="hidden"/></style:style>'
    )
    output = odp.parse(
        odf_of(
            "presentation",
            "<draw:page>"
            + frame(f"<text:list>{items('one', 'two')}</text:list>", "outline")
            + frame("<text:p>Birds</text:p>", "title")
            + "<draw:custom-shape><text:p>free</text:p></draw:custom-shape>"
            + '<draw:frame><draw:object xlink:href="./Object 1"/></draw:frame>'
            + f"<presentation:notes>{frame('<text:p>Say hello.</text:p>', 'notes')}</presentation:notes>"
            + '</draw:page><draw:page draw:style-name="dp2">'
            + frame("<text:p>Secret</text:p>", "title")
            + "</draw:page>",
            automatic=hidden,
            **{
                "Object 1__content": '<c xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0">'
                "<text:p>Herons seen</text:p></c>"
            },
        ),
        OPTIONS,
    )

    assert output.pages == ["Birds\n\n- one\n- two\n\nfree\n\nHerons seen\n\nSay hello.", ""]
    assert output.facts == {Fact.HIDDEN_PAGES: 1}


def cell(text: str, attributes: str = "") -> str:
    """A cell of a sheet."""
    return (
        f"<table:table-cell {attributes}><text:p>{text}</text:p></table:table-cell>"
        if text
        else (f"<table:table-cell {attributes}/>")
    )


def test_cells_of_a_sheet_are_shown_as_the_program_showed_them() -> None:
    note = "<office:annotation><text:p>comment</text:p></office:annotation>"
    wide = 'table:number-columns-repeated="9"'
    output = ods.parse(
        odf_of(
            "spreadsheet",
            '<table:table table:name="Costs"><table:shapes><draw:frame><draw:text-box><text:p>drawn</text:p>'
            "</draw:text-box></draw:frame></table:shapes>"
            f"<table:table-row table:number-rows-repeated='3'>{cell('', wide)}"
            f"</table:table-row><table:table-row>{cell('')}{cell('City')}{cell('Day')}</table:table-row>"
            f"<table:table-row>{cell('')}{cell('Rome')}<table:table-cell office:value-type='date' "
            f"office:date-value='2026-11-29'>{note}<text:p>29.11.26</text:p></table:table-cell>"
            "</table:table-row><table:table-row table:number-rows-repeated='1048000'>"
            f"{cell('')}</table:table-row></table:table>"
            f"<table:table table:name='Lists' table:style-name='ta2'><table:table-row>{cell('unseen')}"
            "</table:table-row></table:table>",
            automatic='<style:style style:name="ta2" style:family="table"><style:table-properties '
            'table:display="false"/></style:style>',
        ),
        OPTIONS,
    )

    assert output.pages == ["| City | Day |\n| --- | --- |\n| Rome | 29.11.26 |\n\ndrawn", ""]
    (table,) = output.structure[0].blocks
    assert (output.structure[0].label, table.columns, table.first_row) == ("Costs", "B:C", 5)
    assert output.facts == {Fact.HIDDEN_PAGES: 1}


def test_repeated_cells_do_not_make_an_endless_table() -> None:
    row = cell("x", 'table:number-columns-repeated="16384"')
    rows = f'<table:table-row table:number-rows-repeated="1000000">{row}</table:table-row>'
    bomb = f"<table:table>{rows}</table:table>"
    with pytest.raises(Unreadable, match=r"repeats cells .* the limit is 1,000,000") as raised:
        ods.parse(odf_of("spreadsheet", bomb), OPTIONS)
    assert raised.value.outcome is Outcome.TOO_LARGE


@pytest.mark.parametrize("module", [odt, odp, ods], ids=["odt", "odp", "ods"])
def test_a_protected_document_is_encrypted(module: object) -> None:
    data = odf_of("text", "", **{"META-INF__manifest": "<manifest><encryption-data/></manifest>"})
    with pytest.raises(Unreadable) as raised:
        module.parse(data, OPTIONS)  # type: ignore[attr-defined]
    assert raised.value.outcome is Outcome.ENCRYPTED
