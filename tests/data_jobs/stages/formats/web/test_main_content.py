"""The main content of fetched pages has their headings and words, and none of the parts around it."""

import pytest

from benchmarks.main_content.reference import SITES, headings_of_html, reference_of, word_f1, words_of
from cluster.records import Outcome
from data_jobs.stages.formats import html
from data_jobs.stages.formats.web.read_page import read_page
from data_jobs.stages.formats.web.stored_page import block_digests, repeated_blocks, stored_page
from data_jobs.stages.formats.web.web_page import WebPage
from tests.simulators.site import SETS, documentation

URL = "https://docs.test/guide/page.html"


def read(body: str, head: str = "", attributes: str = "") -> WebPage:
    return read_page(f"<html {attributes}><head>{head}</head><body>{body}</body></html>".encode(), url=URL)


@pytest.mark.parametrize("name", SETS)
def test_documentation_keeps_its_headings_and_words(name: str) -> None:
    raw = {path: data for path, data in documentation().items() if path.startswith(f"/{name}/")}
    pages = {path: read_page(data, url=f"https://docs.test{path}") for path, data in raw.items()}
    repeated = repeated_blocks(block_digests(page) for page in pages.values())
    kept, headings, f1 = 0, 0, []
    for path, page in pages.items():
        reference = reference_of(raw[path], SITES[name])
        if reference is not None:
            stored = stored_page(page, without=repeated).decode()
            kept += (headings_of_html(stored) & reference.headings).total()
            headings += reference.headings.total()
            f1.append(word_f1(words_of(html.read_page(stored).text), reference.words))
    assert len(f1) >= 10
    assert kept >= 0.97 * headings
    assert sum(f1) / len(f1) >= 0.93


FILLER = "<p>The command reads the file and writes the answer to the table.</p>" * 5


@pytest.mark.parametrize(
    "around",
    [
        "<nav><a href=a>Around one</a></nav>",
        "<header>Around the page</header>",
        "<aside>Around it</aside>",
        "<footer>Around 2026</footer>",
        "<div role=navigation>Around it</div>",
        "<div class='site-sidebar'><a href=a>Around</a> <a href=b>it</a></div>",
        "<ul id=mainMenu><li><a href=a>Around</a></li></ul>",
        "<div class=cookie-consent>We use cookies. Around.</div>",
        "<div class=x><a href=a>Around</a> <a href=b>the</a> <a href=c>page</a></div>",
        "<div hidden>Around it</div>",
        "<div style='display: none'>Around it</div>",
        "<div aria-hidden=true>Around it</div>",
        "<form><input value=Around><button>Around</button></form>",
        "<script>Around()</script><style>.Around {}</style><noscript>Around</noscript>",
    ],
)
def test_parts_around_the_main_content_are_left_out(around: str) -> None:
    page = read(f"{around}<h1>Title</h1>{FILLER}{around}")
    assert page.blocks[0] == "<h1>Title</h1>"
    assert "Around" not in "".join(page.blocks)
    assert len(page.blocks) == 6


def test_a_header_inside_the_article_is_content() -> None:
    page = read(f"<header>Around</header><article><header><h1>Title</h1></header>{FILLER}</article>")
    assert page.blocks[0] == "<h1>Title</h1>"


def test_a_page_of_links_keeps_its_links() -> None:
    items = "".join(f"<li><a href={number}>Chapter {number} of the guide</a></li>" for number in range(30))
    page = read(f"<nav><a href=x>Around</a></nav><div class=toc><ul>{items}</ul></div>")
    assert "Chapter 29 of the guide" in page.blocks[0]
    assert "Around" not in "".join(page.blocks)


@pytest.mark.parametrize(
    "anchor",
    [
        "<a class=headerlink href=#x>¶</a>",
        "<a href=#x>#</a>",
        "<a class='anchor' aria-hidden=true href=#x></a>",
        "<a href=#x>🔗</a>",
        "<a class='mark' href=#x>§</a>",
    ],
)
def test_anchors_of_headings_are_left_out(anchor: str) -> None:
    assert read(f"<h2 id=x>{anchor}Set <a href=y>up</a>{anchor}</h2>{FILLER}").blocks[0] == "<h2>Set up</h2>"


def test_lists_tables_and_code_keep_their_form() -> None:
    page = read(
        "<h1>A &lt;b&gt;</h1><div>First<p>second <b>bold</b>&amp;\n more</p>third</div>"
        "<ul><li>one<ul><li>two</li></ul></li></ul>"
        "<table><thead><tr><th>City</th><th>EUR</th></tr></thead>"
        "<tr><td rowspan=2 class=x>Rome</td><td>4<br>10</td></tr></table>"
        "<div><pre><code>a  = 1\n\n<span>b</span> = 2</code></pre></div><blockquote><p>said</p></blockquote>"
    )
    assert list(page.blocks) == [
        "<h1>A &lt;b&gt;</h1>",
        "<p>First</p>",
        "<p>second bold&amp; more</p>",
        "<p>third</p>",
        "<ul><li>one<ul><li>two</li></ul></li></ul>",
        "<table><thead><tr><th>City</th><th>EUR</th></tr></thead>"
        '<tbody><tr><td rowspan="2">Rome</td><td>4<br>10</td>'
        "</tr></tbody></table>",
        "<pre>a  = 1\n\nb = 2</pre>",
        "<blockquote>said</blockquote>",
    ]


def test_what_the_page_says_about_itself() -> None:
    page = read(
        f"<h1>Other</h1>{FILLER}<a href='b.html#part'>b</a><a href='/c' rel='nofollow'>c</a>"
        "<a href='//other.test/d?x=1'>d</a><a href='b.html'>b</a><a href='javascript:x()'>e</a>"
        "<a href='mailto:a@b.test'>f</a><a href='http://[bad'>g</a><a href='http://x.test:port/'>h</a>",
        "<title> The \n title </title><meta property='article:published_time' content='2026-05-01T10:00Z'>"
        '<script type=\'application/ld+json\'>{"dateModified": "2026-06-02"}</script>'
        "<link rel=canonical href='/guide/canonical.html'>",
        "lang=pt-BR",
    )
    assert (page.title, page.language, page.published, page.modified) == (
        *("The title", "pt-br", "2026-05-01", "2026-06-02"),
    )
    assert page.canonical == "https://docs.test/guide/canonical.html"
    assert page.links == ("https://docs.test/guide/b.html", "https://other.test/d?x=1")


@pytest.mark.parametrize(
    "href", ["file:///etc/passwd", "http://docs.test/x", "https://other.test/", "https://docs.test:444/"]
)
def test_a_canonical_url_of_another_origin_does_not_count(href: str) -> None:
    assert read(FILLER, f"<link rel=canonical href='{href}'>").canonical == ""


def test_rules_for_robots_in_the_page() -> None:
    page = read(f"{FILLER}<a href=a>a</a>", "<meta name=Robots content='noindex, NOFOLLOW'>")
    assert (page.noindex, page.links) == (True, ())
    assert not read(FILLER, "<meta name=robots content=all>").noindex


def test_a_page_that_scripts_fill_needs_a_browser() -> None:
    page = read("<div id=root></div><script src=app.js></script>")
    assert (page.needs_browser, page.outcome) == (True, Outcome.EMPTY)
    assert "browser" in page.detail
    assert not read(f"<div id=root>{FILLER}</div><script src=app.js></script>").needs_browser
    assert not read("<p>Short.</p><script src=app.js></script>").needs_browser


def test_the_header_names_the_character_set() -> None:
    data = "<html><head><meta charset=utf-8></head><body><p>Straße</p>".encode("cp1251", "ignore")
    sent = "<meta charset=latin-1><p>Привет, мир</p>".encode("cp1251")
    assert read_page(sent, url=URL, charset="windows-1251").blocks == ("<p>Привет, мир</p>",)
    assert read_page(data, url=URL, charset="no-such-set").outcome is Outcome.OK


def test_repeated_blocks_are_left_out_but_equal_headings_stay() -> None:
    pages = [read(f"<p>Buy now.</p><h2>Options</h2><p>Text {number}.</p>") for number in range(12)]
    pages += [read(f"<p>Other {number}.</p>") for number in range(8)]
    repeated = repeated_blocks(block_digests(page) for page in pages)
    stored = stored_page(pages[0], without=repeated).decode()
    assert "Buy" not in stored
    assert "<h2>Options</h2>" in stored
    assert "Text 0." in stored
    few = [read("<p>Buy now.</p>") for _ in range(9)]
    assert repeated_blocks(block_digests(page) for page in few) == set()
    assert "Buy" in stored_page(read("<p>Buy now.</p>"), without=repeated).decode()
