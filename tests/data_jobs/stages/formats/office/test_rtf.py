"""The text of Rich Text Format is what Word shows."""

import pytest

from cluster.page_structure import BlockKind
from cluster.records import NO_PAGE, Fact, Outcome
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput, Unreadable
from data_jobs.stages.formats.office.rtf import parse


def read(body: str, *, end: str = "}") -> ParserOutput:
    """Parse a document with this body."""
    fonts = (
        r"{\fonttbl{\f0\fcharset0 Arial;}{\f1\fcharset204 Arial;}{\f2\fcharset128 Mincho;}"
        r"{\f3\fcharset2 Symbol;}}"
    )
    styles = (
        r"{\stylesheet{\s0 Normal;}{\s1\outlinelevel0 berschrift;}{\s2 heading 2;}{\s3 Source Code;}"
        r"{\*\cs4 Default;}}"
    )
    document = r"{\rtf1\ansi\ansicpg1252\deff0" + fonts + styles + r"{\info{\title Unseen}}" + body + end
    return parse(document.encode("ascii"), ParseOptions(max_pages=1))


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (r"Gr\'f6\'dfe \emdash  \ldblquote x\rdblquote\~y\_z \{\}\\", "Größe — “x”\u00a0y\u2011z {}\\"),
        (r"{\f1 \'cf\'f0\'e8\'e2\'e5\'f2}", "Привет"),
        (r"{\f2 \'93\'fa\'96\'7b}", "日本"),
        (r"\u233?t\u233\'e9 \uc0\u8364 \uc2\u8364ab!", "été €€!"),
        (r"\u-10179?\u-8704?", "😀"),
        (r"a\line b\tab c", "a\nb\tc"),
        ("one\r\ntwo", "onetwo"),
        (r"{\field{\*\fldinst HYPERLINK x}{\fldrslt shown}}", "shown"),
        (r'{\field{\*\fldinst{SYMBOL 109 \\f "Symbol" \\s 9}}{\fldrslt\f3 m}}g', "μg"),
        (r"{\field{\*\fldinst SYMBOL 65}{\fldrslt}}", "A"),
        (r"5 {\f3 m}m {\f3\'a3} 1 {\f3\u-3999?}", "5 μm ≤ 1 α"),
        (r"a{\*\unknown secret}b", "ab"),
        (r"x{\pict 0102}{\object\objdata 01}{\*\bkmkstart m}y", "xy"),
        (r"{\upr{ansi}{\*\ud uni\u233?}}", "unié"),
        (r"{\*\shppict{\pict 01}}{\shp{\*\shpinst{\sp secret}{\shptxt boxed}}}", "boxed"),
    ],
)
def test_characters_are_those_that_word_shows(written: str, shown: str) -> None:
    assert read(written + r"\par").pages == [shown]


def test_binary_data_is_skipped_by_its_length() -> None:
    assert read(r"a{\pict\bin5 }}}}}}b\par").pages == ["ab"]


def test_headings_lists_tables_notes_and_code_are_kept() -> None:
    row = r"\trowd\intbl %s\cell %s\cell\row "
    output = read(
        r"{\header ACME\par}{\footer 1\par}{\headerl ACME\par}"
        r"\pard\s1 Guide\par\pard\s2 {\listtext 1.1\tab}Scope\par"
        r"\pard\s0 Herons{\super\chftn}{\footnote\pard {\chftn} Ardea\par} stand.\par"
        r"\pard{\listtext\'b7\tab}one\par{\pntext 2.\tab}two\par"
        r"\pard\s3 if x:\par   y()\par"
        r"\pard "
        + row % ("City", "EUR")
        + row % (r"Rome\par Milan", "410")
        + r"\pard\par "
        + row % ("a", "b")
        + r"\pard Deep\outlinelevel4\par"
    )

    text = output.pages[0]
    assert text == (
        "Guide\n\n1.1 Scope\n\nHerons[1] stand.\n\n[1] Ardea\n\n- one\n2. two\n\nif x:\n  y()\n\n"
        "| City | EUR |\n| --- | --- |\n| Rome Milan | 410 |\n\na\n\nb\n\nDeep\n\nACME\n\n1"
    )
    shown = [
        (text[block.start : block.end][:5], block.kind, block.level) for block in output.structure[0].blocks
    ]
    assert shown == [
        ("Guide", BlockKind.HEADING, 1),
        ("1.1 S", BlockKind.HEADING, 2),
        ("if x:", BlockKind.CODE, 0),
        ("| Cit", BlockKind.TABLE, 0),
        ("Deep", BlockKind.HEADING, 5),
    ]


def test_hidden_and_deleted_text_is_left_out() -> None:
    output = read(r"a{\v unseen}{\deleted gone}\v0 b\v c\plain d\par")
    assert (output.pages, output.facts) == (["abd"], {Fact.HIDDEN_CHARACTERS: len("unseen") + 1})


def test_a_file_that_is_cut_short_is_read_as_far_as_it_goes() -> None:
    assert read(r"Herons\par stand", end="").unread == {NO_PAGE: "is cut short: its end is missing"}
    with pytest.raises(Unreadable) as raised:
        read("", end="")
    assert raised.value.outcome is Outcome.CORRUPT
