"""The text of HTML has every word that a reader sees, whole and in order, however deep the markup nests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.records import Fact, Outcome
from cluster.settings import Settings
from data_jobs.stages.formats.html import read_page
from data_jobs.stages.parsing.parser import Parser

TAGS = (
    "div p span font a b i em h1 ul li section blockquote pre button label small code "
    "details summary nav x-own center"
).split()
HIDDEN = (
    "<div hidden>",
    "<p style='color:red; DISPLAY : none'>",
    "<span style=display:none>",
    "<b style='visibility:hidden'>",
)


def words(markup: str) -> list[str]:
    """The words of the parsed text."""
    return read_page(markup).text.split()


def numbered(template: str, count: int) -> str:
    """Repeat the template; ``#`` stands for the number of the repetition."""
    return "".join(template.replace("#", str(number)) for number in range(count))


@pytest.mark.parametrize(
    "template",
    [
        "<div>w# ",
        "<font>w# ",
        "<span>w# ",
        "<a>w# ",
        "<b>w# ",
        "<ul><li>w# ",
        "<blockquote>w# ",
        "<table><tr><td>w# ",
    ],
)
@pytest.mark.parametrize("count", [400, 5000])
def test_nesting_has_no_limit(template: str, count: int) -> None:
    assert words(numbered(template, count) + "<p>end") == [f"w{number}" for number in range(count)] + ["end"]


@pytest.mark.parametrize(
    "node",
    [
        "<img src='data:image/png;base64,{}'>",
        "<script>{}</script>",
        "<style>{}</style>",
        "<!--{}-->",
        "<template>{}</template>",
        "<a title='{}'></a>",
    ],
)
def test_a_node_over_ten_megabytes_loses_no_word(node: str) -> None:
    assert words("<p>before" + node.format("x" * 10_500_000) + "<p>behind") == ["before", "behind"]


@pytest.mark.parametrize("element", ["pre", "p", "title"])
def test_the_text_of_a_long_node_is_whole(element: str) -> None:
    assert [len(word) for word in words(f"<{element}>{'x' * 10_500_000} y</{element}><p>end")] == [
        10_500_000,
        1,
        3,
    ]


def test_a_tree_that_does_not_fit_into_memory_is_too_large() -> None:
    with Parser(Settings(parse_memory_bytes=256 * 1024 * 1024)) as parser:
        parsed = parser.parse(numbered("<p><font size=#>x ", 2_000).encode(), name="a.html")
    assert parsed.outcome == Outcome.TOO_LARGE
    assert "CLUSTER_PARSE_MEMORY_BYTES" in parsed.detail


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("one<br>two<wbr>three", "one twothree"),
        ("<b>wo</b>rd<i>s</i>", "words"),
        ("<td>1</td><td>2</td>", "12"),  # cells outside a table are not cells
        ("<table><tr><td>1<td>2</table>", "1\n\n2"),
        ("<select><option>red<option>green</select>", "red\n\ngreen"),
        ("<textarea>a\n b</textarea>", "a\n b"),
        ("<button>Save</button><button>Quit</button>", "Save Quit"),
        ("<p>see<img src=x alt='a heron'>here<img src=y>now", "see a heron here now"),
        ("<object data=x><p>instead</p></object>", "instead"),
        ("<svg><title>Map</title><text>North</text><text>South</text></svg>", "Map\n\nNorth\n\nSouth"),
        ("<math><mfrac><mn>1</mn><mn>2</mn></mfrac><annotation>\\frac</annotation></math>", "1 2"),
        ("<ruby>漢字<rp>(</rp><rt>かんじ</rt><rp>)</rp></ruby>", "漢字 かんじ"),
        ("<svg><![CDATA[a < b]]></svg>", "a < b"),
        ("a&#x1c;b&#11;cd", "a b\ncd"),
        ("<p>one</p ><P>two</p\n><p>three</p", "one\n\ntwo\n\nthree"),
        ("<xmp><b></xmp>", "<b>"),
        (
            "a note<sup><a href='#1'>1</a></sup>, 10<sup>6</sup>, 10<sup>-3</sup> m<sup>2</sup>, "
            "1<sup>st</sup>, H<sub>2</sub>O",
            "a note 1 , 10^6, 10^-3 m2, 1st, H2O",
        ),
        ("5 < 6 > 4 & x <3", "5 < 6 > 4 & x <3"),
        ("<details><summary>More</summary>inside</details><dialog>asks</dialog>", "More\n\ninside\n\nasks"),
        (
            "<p aria-hidden=true>icon<p class=visually-hidden>for ears<p hidden=until-found>found",
            "icon\n\nfor ears\n\nfound",
        ),
        ("<span style='display:block'>a</span><span style='display:block'>b</span>", "a\n\nb"),
        ("<p style='visibility:hidden'>a<b style='visibility:visible'>b</b></p>", "b"),
        ("<div style='display:none'>a<b style='display:block;visibility:visible'>b</b></div>c", "c"),
        ("<p hidden>a<p>b", "b"),
    ],
)
def test_the_text_is_what_a_reader_sees(markup: str, text: str) -> None:
    assert read_page(markup).text == text


@pytest.mark.parametrize(
    "silent", ["script", "style", "template", "noscript", "iframe", "noembed", "noframes"]
)
def test_code_and_fallback_content_are_not_text(silent: str) -> None:
    assert words(f"<body>one <{silent}>no</{silent}> two") == ["one", "two"]


@pytest.mark.parametrize("tag", HIDDEN)
def test_what_an_element_hides_is_left_out_and_counted(parser: Parser, tag: str) -> None:
    name = tag[1:].split()[0].rstrip(">")
    parsed = parser.parse(f"<html><body>seen {tag}secret</{name}> too".encode(), name="a.html")
    assert parsed.pages[0].text.split() == ["seen", "too"]
    assert parsed.facts[Fact.HIDDEN_CHARACTERS] == len("secret")


def trees() -> st.SearchStrategy[str]:
    """Markup with ``#`` for each word, whose elements are closed or not."""
    word = st.just(" # ")
    return st.recursive(
        word,
        lambda inner: st.builds(
            lambda tag, attributes, parts, closed: (
                f"<{tag}{attributes}>{''.join(parts)}" + (f"</{tag}>" if closed else "")
            ),
            st.sampled_from(TAGS),
            st.sampled_from(["", " class=hidden", ' title="a > b"', " style='color: red'", " data-x=1"]),
            st.lists(inner, max_size=4),
            st.booleans(),
        ),
        max_leaves=40,
    )


@given(
    st.lists(trees(), min_size=1, max_size=5),
    st.sampled_from(["", "<!doctype html><title># </title>", "<?xml version='1.0'?><html><body>"]),
)
def test_every_word_of_any_tree_is_in_the_text_in_order(parts: list[str], start: str) -> None:
    pieces = (start + "".join(parts)).split("#")
    markup = pieces[0] + "".join(f"w{number}{piece}" for number, piece in enumerate(pieces[1:]))
    assert words(markup) == [f"w{number}" for number in range(len(pieces) - 1)]


@given(st.text(alphabet=st.sampled_from("<>/!-[]&;'\"= abp\n"), max_size=60))
def test_any_markup_gives_some_text(markup: str) -> None:
    read_page(f"<p>one{markup}")
