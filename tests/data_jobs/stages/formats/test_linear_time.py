"""The time of a parser grows with the length of a document, and not with its square."""

import gc
import time
from collections.abc import Callable

import pytest

from data_jobs.stages.formats.contract import ParseOptions
from data_jobs.stages.parsing.fork_server import parse
from tests.data_jobs.stages.formats.office.packages import docx_of, epub_of, odf_of, pptx_of, xlsx_of

#: Number of characters of the repeated part in the long document. The short document has a quarter of it.
LONG = 200_000
#: The same for Markdown, whose library takes several seconds for the longer documents.
LONG_MARKDOWN = 100_000
#: A parser with linear time takes about four times as long for the long document, one with quadratic time 16
#: times.
MAX_RATIO = 6.0
#: A long document that takes less CPU time than this many seconds is fast enough.
FAST_S = 0.4
OPTIONS = ParseOptions(max_pages=1_000_000)

#: The text before the repeated part, and the repeated part, for each kind of text. Elements of HTML that are
#: nested to any depth are left out: the library takes quadratic time for them, so the time limit ends them.
TEXTS: dict[str, list[tuple[str, str]]] = {
    "rtf": [
        (r"{\rtf1{\field{\*\fldinst SYMBOL ", "x"),
        (r"{\rtf1{\field{\*\fldinst SYMBOL \u-10179 ?\u-8704 ?", r"\b a"),
        (r"{\rtf1{\field{\*\fldinst SYMBOL 65 \\f ", r"\u65 ?\\f"),
        (r"{\rtf1{\stylesheet{\s1 \u-10179 ?\u-8704 ?", r"\b a"),
        (r"{\rtf1{\stylesheet", r"{\s1 a;}"),
        (r"{\rtf1{\fonttbl", r"{\f1 Symbol;}"),
        (r"{\rtf1 ", "{"),
        (r"{\rtf1 ", "{a}"),
        (r"{\rtf1 ", r"\u65 ?"),
        (r"{\rtf1 ", r"\par a"),
        (r"{\rtf1 ", r"{\footnote a}b\par "),
        (r"{\rtf1 ", r"\trowd\cellx1 a\cell\row "),
        (r"{\rtf1 \trowd ", r"a\cell "),
        (r"{\rtf1 ", r"{\listtext 1}a\par "),
        (r"{\rtf1 {\header ", r"\u65 ?"),
        (r"{\rtf1{\footnote ", r"\u65 ?"),
        (r"{\rtf1{\listtext ", r"\u65 ?"),
        (r"{\rtf1 ", r"\bin9 "),
        (r"{\rtf1 ", r"{\*\x"),
    ],
    "html": [
        ("", "<p>a"),
        ("", "<a href=x>"),
        ("<table>", "<tr><td>a"),
        ("<ol>", "<li>a"),
        ("<p>", "a<br>"),
        ("<pre>", "a\n"),
        ("<p>", "&amp;"),
        ("<!--", "-->a<!--"),
        ("", "<h1>a</h1>"),
        ("", "<"),
    ],
    "md": [
        ("", "*a"),
        ("", "[a"),
        ("", "![a]("),
        ("", "`a"),
        ("", "> "),
        ("", "- a\n"),
        ("", "# a\n"),
        ("", "|a"),
        ("a|b\n-|-\n", "a|b\n"),
        ("", "[a]: b\n"),
        ("", "a\n\n"),
        ("", "<a"),
        ("", "_a_"),
        ("", "***"),
        ("", "\\"),
        ("---\n", "a: b\n"),
        ("", "```\n"),
    ],
    "rst": [
        ("", "*a"),
        ("", "``a"),
        ("", "|a"),
        ("", "a_ "),
        ("", "`a <b"),
        ("", ".. a::\n"),
        ("", "a\n=\n\n"),
        ("", "+-"),
        ("+-+\n", "|a|\n+-+\n"),
        ("= =\n", "a b\n"),
        ("", "* a\n"),
        ("", "a::\n\n b\n\n"),
        ("", ".. [a] b\n"),
        ("", "===\n"),
        ("", ":a: b\n"),
    ],
    "tex": [("", "\\section{a}\n"), ("", "\\a{"), ("", "$a"), ("", "%a\n"), ("", "\\begin{a}\n"), ("", "{")],
    "adoc": [("", "== a\n"), ("", "----\n"), ("", "|===\n"), ("", "a:"), ("", "[a]\n"), ("", "=")],
    "org": [("", "* a\n"), ("", "|a"), ("", "#+begin_src\n"), ("", "*")],
    "csv": [("", "a,"), ("a,b\n", "c,d\n"), ("", '"a'), ("", '""'), ("", "a;b,"), ("", "\n"), ("", '"a\n')],
    "tsv": [("", "a\t"), ("a\tb\n", "c\td\n"), ("", '"a')],
    "json": [("[", "1,"), ("", "["), ("", '{"a":'), ("{", '"a":1,'), ('"', "\\u0041"), ("[", '{"a":[1]},')],
    "jsonl": [("", "1\n"), ("", '{"a":1}\n'), ("", "[\n"), ('{"a":1}\n', '{"a":')],
    "xml": [
        ("<a>", "<b>"),
        ("<a>", "<b/>"),
        ("<a>", "<b>c</b>"),
        ("<a ", 'b="c" '),
        ("<a>", "&amp;"),
        ("<a>", "<!--a-->"),
    ],
    "py": [("", "# a\n"), ("", "("), ("", "def a():\n"), ("", "'a"), ("", '"""'), ("", "class a:\n")],
    "txt": [("", "a"), ("", "\n"), ("", "\r"), ("", "a "), ("", "\u0301"), ("", "\u05d0a"), ("", "\u202b")],
    "eml": [
        ("Subject: ", "=?utf-8?q?a?= "),
        ("To: ", "a@b, "),
        ("To: ", "("),
        ("To: ", "<"),
        ("To: ", '"'),
        ("", "A: b\n"),
        ("Subject: a\n", " b\n"),
        ("Content-Type: text/plain; ", "a*0=b; "),
        ("Content-Type: multipart/mixed; boundary=a\n\n", "--a\n\nb\n"),
        ("Content-Type: multipart/mixed; boundary=a\n\n", "--a\nContent-Type: message/rfc822\n\n"),
        ("Content-Type: text/html\n\n", "<div>"),
        ("Subject: a\nContent-Transfer-Encoding: quoted-printable\n\n", "=41"),
        ("Subject: a\nContent-Transfer-Encoding: quoted-printable\n\n", "a=\n"),
        ("Subject: a\n\n", "> "),
        ("Message-ID: ", "<a>"),
        ("Date: ", "1 "),
    ],
}
_RUN = "<w:r><w:t>a</w:t></w:r>"
_FIELD = '<w:r><w:fldChar w:fldCharType="begin"/></w:r>'
#: How a package is made from the repeated part, and the repeated parts.
PACKAGES: dict[str, tuple[Callable[[str], bytes], list[str]]] = {
    "docx": (
        docx_of,
        [
            f"<w:p>{_RUN}</w:p>",
            f"<w:tbl><w:tr><w:tc><w:p>{_RUN}</w:p></w:tc></w:tr></w:tbl>",
            f"<w:p>{_FIELD}{_RUN}</w:p>",
            "<w:p/>",
        ],
    ),
    "docx, one paragraph": (lambda part: docx_of(f"<w:p>{part}</w:p>"), [_RUN, _FIELD, "<w:r><w:br/></w:r>"]),
    "docx, one row": (
        lambda part: docx_of(f"<w:tbl><w:tr>{part}</w:tr></w:tbl>"),
        [f"<w:tc><w:p>{_RUN}</w:p></w:tc>"],
    ),
    "pptx": (
        pptx_of,
        ["<p:sp><p:txBody><a:p><a:r><a:t>a</a:t></a:r></a:p></p:txBody></p:sp>"],
    ),
    "pptx, one paragraph": (
        lambda part: pptx_of(f"<p:sp><p:txBody><a:p>{part}</a:p></p:txBody></p:sp>"),
        ["<a:r><a:t>a</a:t></a:r>", "<a:br/>"],
    ),
    "xlsx": (
        xlsx_of,
        ['<row><c t="str"><v>a</v></c></row>', "<row/>", '<row r="9"><c r="A9"><v>1</v></c></row>'],
    ),
    "xlsx, one row": (
        lambda part: xlsx_of(f"<row>{part}</row>"),
        ["<c><v>1</v></c>", '<c t="str"><v>a</v></c>'],
    ),
    "odt": (
        lambda part: odf_of("text", part),
        [
            "<text:p>a</text:p>",
            '<text:h text:outline-level="1">a</text:h>',
            "<text:list><text:list-item><text:p>a</text:p></text:list-item></text:list>",
            "<table:table><table:table-row><table:table-cell><text:p>a</text:p></table:table-cell>"
            "</table:table-row></table:table>",
        ],
    ),
    "odt, one paragraph": (
        lambda part: odf_of("text", f"<text:p>{part}</text:p>"),
        [
            "<text:span>a</text:span>",
            "<text:s/>",
            "<text:line-break/>",
            "<text:note><text:note-body/></text:note>",
        ],
    ),
    "odp": (
        lambda part: odf_of("presentation", part),
        ["<draw:page><draw:frame><draw:text-box><text:p>a</text:p></draw:text-box></draw:frame></draw:page>"],
    ),
    "ods": (
        lambda part: odf_of("spreadsheet", f"<table:table>{part}</table:table>"),
        [
            "<table:table-row><table:table-cell><text:p>a</text:p></table:table-cell></table:table-row>",
            "<table:table-column/>",
        ],
    ),
    "ods, one row": (
        lambda part: odf_of(
            "spreadsheet", f"<table:table><table:table-row>{part}</table:table-row></table:table>"
        ),
        ["<table:table-cell><text:p>a</text:p></table:table-cell>", "<table:covered-table-cell/>"],
    ),
    "epub": (lambda part: epub_of({"a.xhtml": part}), ["<p>a</p>", "<h1>a</h1>", "<b>a</b>"]),
}


def cpu_s(data: bytes, ending: str) -> float:
    """CPU seconds for one document.

    The garbage collector is off, because it also searches the objects of all other tests of this process.
    """
    gc.disable()
    try:
        began = time.process_time()
        parse(data, name=f"a.{ending}", max_characters=100_000_000, options=OPTIONS)
        return time.process_time() - began
    finally:
        gc.enable()


def require_linear(made: Callable[[int], bytes], ending: str) -> None:
    """Fail if the time grows faster than the length. A first failure is measured once more."""
    length = LONG_MARKDOWN if ending == "md" else LONG
    for _ in range(2):
        long_s = cpu_s(made(length), ending)
        if long_s < FAST_S or long_s < MAX_RATIO * cpu_s(made(length // 4), ending):
            return
    pytest.fail(f"{length:,} characters take {long_s:.2f} s, and a quarter of them less than a sixth of it")


@pytest.mark.parametrize(
    ("ending", "before", "part"), [(ending, *case) for ending, cases in TEXTS.items() for case in cases]
)
def test_a_repeated_construct_of_a_text_takes_linear_time(ending: str, before: str, part: str) -> None:
    require_linear(lambda length: (before + part * (length // len(part))).encode(), ending)


@pytest.mark.parametrize(
    ("kind", "part"), [(kind, part) for kind, (_, parts) in PACKAGES.items() for part in parts]
)
def test_a_repeated_construct_of_a_package_takes_linear_time(kind: str, part: str) -> None:
    package = PACKAGES[kind][0]
    require_linear(lambda length: package(part * (length // len(part))), kind[:4].rstrip(","))
