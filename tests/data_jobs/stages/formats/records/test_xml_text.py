"""XML becomes readable text: prose, lines with names, headings. Nothing is fetched, and nothing grows."""

import time
from pathlib import Path

import pytest

from cluster.page_structure import BlockKind
from cluster.records import Fact
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput
from data_jobs.stages.formats.records import xml_text

BOOK = """<?xml version="1.0" encoding="ISO-8859-1"?>
<!DOCTYPE book [<!ENTITY product "Heron &#169; Pump">]>
<book id="b1" xmlns="http://example.org" xml:lang="en"><title>The &product; book</title>
<info><author>Ann</author><date>2026</date></info>
<chapter><title>One</title><para>First <emphasis role="strong">para</emphasis>graph &lt;of&gt;&nbsp;1.</para>
<para><b>Bold</b> <i>it</i> text</para><programlisting>a  b
  c</programlisting>
<section><title>Sub</title><p>Some <i>text <b>deep</b></i></p>
<row id="7"><name>Heron</name><note lang="de">Gr\u00fc\u00dfe</note></row>
<row><name>Egret</name></row></section>
</chapter><chapter><title>Two</title><p>Text<list><item>one</item><item>two</item></list>more</p></chapter></book>
"""


def parse(text: str | bytes) -> ParserOutput:
    return xml_text.parse(
        text.encode("latin-1") if isinstance(text, str) else text, ParseOptions(max_pages=10)
    )


def test_prose_records_and_titles_are_kept_in_order() -> None:
    output = parse(BOOK)
    assert output.pages[0].split("\n\n") == [
        "The Heron \u00a9 Pump book",
        "book id: b1",
        "author: Ann\ndate: 2026",
        "One",
        "First paragraph <of> 1.",
        "Bold it text",
        "a  b\n  c",
        "Sub",
        "Some text deep",
        "row id: 7\nname: Heron\nnote lang: de\nnote: Gr\u00fc\u00dfe",
        "name: Egret",
        "Two",
        "Text",
        "item: one\nitem: two",
        "more",
    ]
    blocks = output.structure[0].blocks
    headings = [(output.pages[0][b.start : b.end], b.level) for b in blocks if b.kind is BlockKind.HEADING]
    assert headings == [("The Heron \u00a9 Pump book", 1), ("One", 2), ("Sub", 3), ("Two", 2)]


def test_html_inside_an_element_is_read_as_its_reader_sees_it() -> None:
    assert parse("<item><d>&lt;p&gt;One &lt;b&gt;two&lt;/b&gt;&lt;/p&gt;</d></item>").pages == ["d: One two"]
    assert parse("<item><d><![CDATA[<p>a &amp; b</p>]]></d></item>").pages == ["d: a & b"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "shift_jis", "euc_jp"])
def test_any_declared_encoding_is_read(encoding: str) -> None:
    words = "\u9ce5\u306f\u7acb\u3063\u3066\u3044\u308b"
    text = f'<?xml version="1.0" encoding="{encoding}"?><\u672c>{words}</\u672c>'
    assert parse(text.encode(encoding)).pages == [words]


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("<a><b>words</a>", "mismatched tag: line 1, column 13"),
        ("<a>cut", "no element found: line 1, column 6"),
        ("<a>&unknown;</a>", "undefined entity: line 1, column 3"),
        ("<a b=1>words</a>", "not well-formed (invalid token): line 1, column 5"),
    ],
)
def test_a_file_that_is_not_well_formed_is_read_as_text(text: str, fact: str) -> None:
    output = parse(text)
    assert output.pages == [text]
    assert output.facts[Fact.MALFORMED] == fact


def test_an_external_entity_is_not_fetched(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret words")
    for kind in (f'<!ENTITY x SYSTEM "{secret}">', f'<!ENTITY x SYSTEM "file://{secret}">'):
        shown = parse(f"<!DOCTYPE a [{kind}]><a>before &x; after</a>").pages[0]
        assert shown == "before &x; after"
    parameters = f'<!DOCTYPE a [<!ENTITY % p SYSTEM "{secret}"> %p;]><a>words</a>'
    assert parse(parameters).pages == ["words"]
    assert parse(f'<!DOCTYPE a SYSTEM "{secret}"><a>words</a>').pages == ["words"]


def laughs(reference: str) -> str:
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    return f'<!DOCTYPE a [<!ENTITY l0 "ha">{levels}]><a{reference}</a>'


@pytest.mark.parametrize("reference", [">&l11;", ' b="&l11;">', ">&l0;" + "&big;" * 10_000])
def test_entities_cannot_grow(reference: str) -> None:
    text = laughs(reference).replace("]>", f'<!ENTITY big "{"x" * 1000}">]>')
    started = time.process_time()
    assert len(parse(text).pages[0]) < 2 * len(text) + 10_000
    assert time.process_time() - started < 10


def test_cyclic_entities_and_deep_elements_end() -> None:
    cyclic = '<!DOCTYPE a [<!ENTITY x "&y;"><!ENTITY y "&x;">]><a b="&x;">words &x;</a>'
    assert "words" in parse(cyclic).pages[0]
    deep = "<a>x" * 50_000 + "</a>" * 50_000
    assert parse(deep).pages[0].count("x") == 50_000
