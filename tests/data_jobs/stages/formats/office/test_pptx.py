"""Each slide is a page: its title, its text in the order of screen readers, and the notes of the speaker."""

import pytest

from cluster.page_structure import BlockKind
from cluster.records import Fact, Outcome
from data_jobs.stages.formats.contract import ParseOptions, Unreadable
from data_jobs.stages.formats.office.pptx import parse
from tests.data_jobs.stages.formats.office.packages import pptx_of


def shape(*paragraphs: str, kind: str = "") -> str:
    """A shape; ``kind`` is the type of its placeholder. A paragraph is text or XML."""
    placeholder = f'<p:ph type="{kind}"/>' if kind else ""
    written = "".join(one if one.startswith("<") else paragraph(one) for one in paragraphs)
    return f"<p:sp><p:nvSpPr><p:nvPr>{placeholder}</p:nvPr></p:nvSpPr><p:txBody>{written}</p:txBody></p:sp>"


def paragraph(text: str, properties: str = "") -> str:
    """A paragraph of a shape."""
    return f"<a:p>{properties}<a:r><a:t>{text}</a:t></a:r></a:p>"


def test_a_slide_has_its_title_first_then_its_text_and_its_notes() -> None:
    numbered = '<a:pPr lvl="1"><a:buAutoNum type="romanLcParenR" startAt="4"/></a:pPr>'
    output = parse(
        pptx_of(
            shape("Herons", "Bitterns", kind="body")
            + shape("Water birds", kind="title")
            + "<p:grpSp>"
            + shape("free")
            + "</p:grpSp>"
            + shape("7", kind="sldNum")
            + shape("ACME", kind="ftr"),
            shape("Birds of Europe", kind="ctrTitle")
            + shape("one", paragraph("two", numbered), paragraph("three", numbered), kind="body")
            + shape("ACME", kind="ftr"),
            notes=shape("Say hello.", kind="body") + shape("1", kind="sldNum"),
        ),
        ParseOptions(max_pages=2),
    )

    assert output.pages == [
        "Water birds\n\n- Herons\n- Bitterns\n\nfree\n\nACME\n\nSay hello.",
        "Birds of Europe\n\n- one\n  iv) two\n  v) three",
    ]
    blocks = [structure.blocks[0] for structure in output.structure]
    assert [(block.kind, block.level) for block in blocks] == [(BlockKind.HEADING, 2), (BlockKind.HEADING, 1)]


def test_characters_of_the_font_symbol_are_those_that_powerpoint_shows() -> None:
    run = (
        f'<a:r><a:rPr><a:sym typeface="Symbol"/></a:rPr><a:t>{chr(0xF06D)}</a:t></a:r><a:r><a:t>m</a:t></a:r>'
    )
    shown = f"<p:sp><p:txBody><a:p>{run}</a:p></p:txBody></p:sp>"
    assert parse(pptx_of(shown), ParseOptions(max_pages=1)).pages == ["μm"]


def test_tables_charts_and_descriptions_of_pictures_are_text() -> None:
    cells = "".join(
        f"<a:tr>{''.join(f'<a:tc {merged}>{paragraph(text)}</a:tc>' for text, merged in row)}</a:tr>"
        for row in [[("City", ""), ("EUR", "")], [("Rome", 'gridSpan="2"'), ("unseen", 'hMerge="1"')]]
    )
    output = parse(
        pptx_of(
            f'<p:graphicFrame><a:tbl><a:tblPr firstRow="1"/>{cells}</a:tbl></p:graphicFrame>'
            '<p:graphicFrame><c:chart r:id="rchart"/></p:graphicFrame>'
            '<p:pic><p:nvPicPr><p:cNvPr descr="A grey heron"/></p:nvPicPr></p:pic>',
            chart="<c:ser><c:tx><c:v>Seen</c:v></c:tx><c:xVal><c:v>May</c:v></c:xVal>"
            "<c:yVal><c:v>3</c:v></c:yVal></c:ser>",
        ),
        ParseOptions(max_pages=1),
    )

    assert output.pages == ["| City | EUR |\n| --- | --- |\n| Rome |  |\n\nSeen: May: 3\n\nA grey heron"]


def test_hidden_slides_are_left_out_and_counted_and_damaged_slides_are_named() -> None:
    output = parse(pptx_of(shape("one"), shape("two"), shape("three"), hidden=2), ParseOptions(max_pages=3))
    damaged = parse(pptx_of(shape("one"), shape("<broken")), ParseOptions(max_pages=3))

    assert (output.pages, output.facts) == (["one", "", "three"], {Fact.HIDDEN_PAGES: 1})
    assert (damaged.pages, damaged.unread) == (["one", ""], {2: "is damaged"})


def test_a_presentation_with_too_many_slides_is_too_large() -> None:
    with pytest.raises(Unreadable, match="has 3 slides; the limit is 2 ") as raised:
        parse(pptx_of(*[shape("x")] * 3), ParseOptions(max_pages=2))
    assert raised.value.outcome is Outcome.TOO_LARGE
