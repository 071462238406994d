"""Prose in Markdown stays text, however deep it nests, even if an HTML parser would take it for markup."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_jobs.stages.formats.contract import ParseOptions
from data_jobs.stages.formats.markdown import parse
from data_jobs.stages.parsing.parser import Parser
from tests.data_jobs.stages.formats.test_html import numbered

#: Unclosed marks, each with its text in the middle of a line.
OPENINGS = (
    "<script>|<style>|<textarea>|<iframe>|<title>|<xmp>|<plaintext>|<noembed>|<noframes>|<noscript>|<template>|<frameset>|<rp>|<annotation>"
    "|<!--|<![CDATA[|<?php|<!DOCTYPE|<div class='a|<a href=\"x|<b|</"
).split("|")
INVISIBLE = (
    "<svg>|<math>|<select>|<object>|<table>|<video>|<button>|<details>|<div hidden>"
    "|<p style='display:none'>|<font>|<a>"
).split("|")


def text(markdown: str) -> str:
    """The text of the only page of the document."""
    (page,) = parse(markdown.encode(), ParseOptions(max_pages=1)).pages
    return page


@pytest.mark.parametrize("levels", [9, 10, 20, 29, 31, 40, 200])
def test_lists_nest_to_any_depth(levels: int) -> None:
    markdown = "".join("  " * level + f"- w{level}\n" for level in range(levels)) + "\nend\n"
    assert [word for word in text(markdown).split() if word != "-"] == [
        f"w{level}" for level in range(levels)
    ] + ["end"]


@pytest.mark.parametrize("mark", ["> ", ">", "- ", "1. ", "> - "])
@pytest.mark.parametrize("levels", [19, 20, 21, 60, 1000])
def test_marks_in_one_line_nest_to_any_depth(mark: str, levels: int) -> None:
    words = text(f"{mark * levels}deep\n\nend\n").split()
    assert words[-1] == "end"
    assert words[-2].endswith("deep")


@pytest.mark.parametrize("opening", OPENINGS)
@pytest.mark.parametrize(
    "template",
    ["{} one\n\n*two*\n\n- three", "zero {} one\n\n*two*\n\n- three", "> {}\n> one\n\n*two*\n\n- three"],
)
def test_an_unclosed_mark_is_text_and_swallows_none(opening: str, template: str) -> None:
    words = text(template.format(opening))
    assert opening in words
    assert (
        words.replace(opening, "").split()
        == template.format("").translate(str.maketrans("*->", "   ")).split()
    )


@pytest.mark.parametrize("opening", INVISIBLE)
@pytest.mark.parametrize(
    "template",
    ["{}\none\n\n*two*\n\n- three", "zero {} one\n\n*two*\n\n| a | b |\n|---|---|\n| c | d |\n\n- three"],
)
def test_an_unclosed_element_swallows_no_text(opening: str, template: str) -> None:
    marks = str.maketrans("*|-", "   ")
    assert (
        text(template.format(opening)).translate(marks).split()
        == template.format("").translate(marks).split()
    )


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("A <script> b </script> c", "A <script> b </script> c"),
        ("<script>\nlet x\n\nlet y\n</script>\n\nrest", "rest"),
        ("<style>a {}</style>\n\nrest", "rest"),
        ("<!-- note\n\nto self -->\n\nrest", "rest"),
        ("a <!-- note --> b", "a b"),
        ("List<String> of <your-name>, <x-y z=1>w", "List<String> of <your-name>, w"),
        ("2<b>3</b>4 <kbd>Ctrl</kbd>", "234 Ctrl"),
        ("<details>\n<summary>More</summary>\n\ninside\n\n</details>", "More\n\ninside"),
        ("<pre>\na <b>b</b>\n\n c\n</pre>", "a b\n\n c"),
        ("see <https://x.example/a> or [this](y)", "see https://x.example/a or this"),
        ("[^1]: word\n\n[x]: hidden", "[^1]: word"),
        ("![a heron](x.png)", "a heron"),
        ("`<script>` and `a<b>`", "<script> and a<b>"),
        ("```html\n<script>x</script>\n```", "<script>x</script>"),
        ("a&#x1c;b", "a\ufffdb"),
    ],
)
def test_the_text_is_what_the_author_wrote_for_readers(markdown: str, expected: str) -> None:
    assert text(markdown) == expected


def test_a_readme_with_a_loose_tag_is_whole_through_the_parser(parser: Parser) -> None:
    markdown = "# Guide\n\nPut <script> into the head.\n\n" + numbered("Step # is text.\n\n", 50)
    assert parser.parse(markdown.encode(), name="README.md").pages[0].text.count("is text.") == 50


def trees(depth: int = 0) -> st.SearchStrategy[str]:
    """Markdown blocks with ``#`` for each word."""
    line = st.sampled_from(
        [
            "# #",
            "*#* **#**",
            "`#` #",
            "[#](u) #",
            "# <b>#",
            "<span>#</span> #",
            "# <script> #",
            "# <T> #",
            "~~#~~",
            "# \\<#",
            "## <i># #",
        ]
    )
    block = st.one_of(
        line,
        line.map(lambda text: "```\n" + text + "\n```"),
        line.map(lambda text: "<div>\n" + text + "\n</div>"),
        st.just("| # | # |\n|---|---|\n| # | # |"),
        st.just("#\n==="),
    )
    nested = st.recursive(
        st.lists(block, min_size=1, max_size=3).map("\n\n".join),
        lambda inner: st.one_of(
            inner.map(lambda text: "> " + text.replace("\n", "\n> ")),
            st.lists(inner, min_size=1, max_size=3).map(
                lambda items: "\n".join("- " + item.replace("\n", "\n  ") for item in items)
            ),
            inner.map(lambda text: "1. " + text.replace("\n", "\n   ")),
        ),
        max_leaves=12,
    )
    return st.lists(nested, min_size=1, max_size=4).map("\n\n".join)


@given(trees())
def test_every_word_of_any_document_is_in_the_text_in_order(markdown: str) -> None:
    pieces = (
        markdown.replace("## ", "\0").replace("# #", "@ @").replace("#", "@").replace("\0", "## ").split("@")
    )
    document = pieces[0] + "".join(f"w{number}x{piece}" for number, piece in enumerate(pieces[1:]))
    found = re.findall(r"w\d+x", text(document))
    assert found == [f"w{number}x" for number in range(len(pieces) - 1)]
