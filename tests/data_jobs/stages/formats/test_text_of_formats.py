"""The text of each format is the text that a reader would see."""

import pytest

from cluster.records import Outcome
from data_jobs.stages.parsing.parser import Parser


@pytest.mark.parametrize(
    ("data", "name", "text"),
    [
        ("\ufeffa\r\nb\rc\x00d".encode(), "a.txt", "a\nb\nc d"),
        ("größe".encode("cp1252"), "a.txt", "größe"),
        ("größe".encode("utf-16"), "a.txt", "größe"),
        (
            b"# Title\n\nsome *text* & `code`\n\n- one\n- two\n\n```\na  b\n```\n",
            "a.md",
            "Title\n\nsome text & code\n\none\n\ntwo\n\na  b",
        ),
        (
            b"<html><head><title>T</title><style>x{}</style><script>y()</script></head>"
            b"<body><p>one <b>two</b><br>three &amp; four</p>"
            b"<table><tr><td>5</td><td>6</td></tr></table><pre>7\n  8</pre><!-- no --></body></html>",
            "a.html",
            "T\n\none two three & four\n\n5\n\n6\n\n7\n  8",
        ),
        (b'<?xml version="1.0" encoding="utf-8"?><html><body>text</body></html>', "a.html", "text"),
    ],
    ids=["line-ends", "cp1252", "utf-16", "markdown", "html", "xhtml"],
)
def test_text_is_what_a_reader_would_see(parser: Parser, data: bytes, name: str, text: str) -> None:
    assert [page.text for page in parser.parse(data, name=name).pages] == [text]


def test_form_feeds_divide_pages(parser: Parser) -> None:
    assert [(page.number, page.text) for page in parser.parse(b"one\ftwo", name="a.txt").pages] == [
        (1, "one"),
        (2, "two"),
    ]


@pytest.mark.parametrize("data", [b"<html><body><script>x</script></body></html>", b"<html></html>"])
def test_a_page_without_text_is_empty(parser: Parser, data: bytes) -> None:
    assert parser.parse(data, name="a.html").outcome == Outcome.EMPTY


def test_ten_thousand_levels_of_markup_do_not_crash(parser: Parser) -> None:
    parsed = parser.parse(b"<html><body>" + b"<div>" * 10_000 + b"deep", name="a.html")
    assert parsed.outcome in {Outcome.OK, Outcome.EMPTY, Outcome.CORRUPT}
