"""Chunks of pages with structure: rows and lines stay whole, and rows carry the header of their table."""

from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cluster.engines import Registry, Tokeniser, open_tokeniser
from cluster.page_structure import BlockKind
from cluster.records import Page, PageChunk
from cluster.settings import Settings
from data_jobs.stages.chunkers.content_defined import ContentDefinedChunker
from data_jobs.stages.chunkers.token_places import tokenise
from data_jobs.stages.formats.page_builder import PageBuilder

CELL = st.sampled_from(["", "Rome", "a | b", "4.1. It ends. Then", "word " * 9, "x" * 90])
CELLS = st.lists(CELL, min_size=1, max_size=5)
CODE = "def f():\n\n    return 1\n" * 3
SENTENCES = st.sampled_from(["One sentence.", "It was, e.g., short. " * 4, "No end", CODE])
BLOCKS = st.lists(
    st.one_of(
        st.tuples(st.just("heading"), SENTENCES, st.integers(1, 3)),
        st.tuples(st.just("paragraph"), SENTENCES, st.none()),
        st.tuples(st.just("code"), SENTENCES, st.none()),
        st.tuples(st.just("table"), st.lists(CELLS, min_size=1, max_size=20), st.booleans()),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def tokeniser() -> Tokeniser:
    """The tokeniser of the model."""
    return open_tokeniser(Registry(Settings()).default)


def built(blocks: Sequence[tuple[str, object, object]]) -> Page:
    page = PageBuilder()
    for kind, content, option in blocks:
        if kind == "table":
            page.table(content, header=option)  # type: ignore[arg-type]
        elif kind == "heading":
            page.heading(content, level=option)  # type: ignore[arg-type]
        else:
            getattr(page, kind)(content)
    return Page(number=1, text=page.text(), structure=page.structure())


def chunked(tokeniser: Tokeniser, *pages: Page, most: int = 254) -> list[PageChunk]:
    return ContentDefinedChunker(tokeniser, "model", max_tokens=most).chunk("doc", pages).chunks


def text_ids(tokeniser: Tokeniser, chunk: PageChunk) -> tuple[int, ...]:
    """The ids of the chunk's text, without those of its context."""
    (context,) = tokenise(tokeniser, [f"{chunk.context}\n"])
    return chunk.token_ids[len(context.ids) if chunk.context else 0 :]


@hypothesis_settings(max_examples=60)
@given(blocks=BLOCKS, most=st.sampled_from([12, 40, 254]))
def test_every_token_is_in_a_chunk_that_fits(
    tokeniser: Tokeniser, blocks: list[tuple[str, object, object]], most: int
) -> None:
    page = built(blocks)
    chunks = chunked(tokeniser, page, most=most)
    (tokens,) = tokenise(tokeniser, [page.text])
    assert [id for chunk in chunks for id in text_ids(tokeniser, chunk)] == tokens.ids.tolist()
    assert all(page.text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    assert all(one.end <= other.start for one, other in pairwise(chunks))
    assert all(1 <= len(chunk.token_ids) <= most for chunk in chunks)
    assert len({chunk.id for chunk in chunks}) == len(chunks)


HEADING = "It was, e.g., short. " * 4


@example(
    blocks=[("heading", HEADING, 1), ("table", [["", "", "Rome", "4.1. It ends. Then"]], False)], most=40
)
@hypothesis_settings(max_examples=60)
@given(blocks=BLOCKS, most=st.sampled_from([40, 254]))
def test_rows_and_lines_that_fit_are_never_cut(
    tokeniser: Tokeniser, blocks: list[tuple[str, object, object]], most: int
) -> None:
    page = built(blocks)
    chunks = chunked(tokeniser, page, most=most)
    starts = {chunk.start for chunk in chunks}
    for block in page.structure.blocks:
        if block.kind is BlockKind.HEADING:
            continue
        inside = [start for start in starts if max(block.start + 1, block.body) <= start < block.end]
        for start in inside:
            begin = page.text.rfind("\n", 0, start) + 1
            line = page.text[begin : page.text.find("\n", start)]
            (tokens,) = tokenise(tokeniser, [line])
            at_line_start = page.text[begin:start].strip() == ""
            # A row shares its chunk with the header, which has at most half of the tokens.
            assert at_line_start or len(tokens.ids) > most // 2


def test_chunks_of_a_table_carry_its_header(tokeniser: Tokeniser) -> None:
    page = PageBuilder()
    page.paragraph("Nests of 2026.")
    rows = [[f"bird {number}", f"tree {number}"] for number in range(200)]
    page.table([["Bird", "Nest"], *rows])
    page.paragraph("The end.")
    text = page.text()
    chunks = chunked(tokeniser, Page(number=1, text=text, structure=page.structure()), most=100)
    header = "| Bird | Nest |\n| --- | --- |"
    assert chunks[0].context == ""
    assert header in chunks[0].text
    later = [chunk for chunk in chunks[1:] if chunk.text.startswith("| bird")]
    assert len(later) > 10
    assert {chunk.context for chunk in later} == {header}
    assert all(chunk.indexed_text == f"{header}\n{chunk.text}" for chunk in later)
    assert {line for chunk in later for line in chunk.text.split("\n") if line.startswith("| b")} <= {
        "| " + " | ".join(row) + " |" for row in rows
    }


def test_a_new_header_gives_the_rows_new_ids(tokeniser: Tokeniser) -> None:
    rows = [[f"bird {number}", "tree"] for number in range(60)]
    pages = [built([("table", [[name, "Nest"], *rows], True)]) for name in ("Bird", "Fowl")]
    first, second = (chunked(tokeniser, page, most=60) for page in pages)
    assert [chunk.text for chunk in first[1:]] == [chunk.text for chunk in second[1:]]
    assert not {chunk.id for chunk in first} & {chunk.id for chunk in second}


def test_a_heading_begins_a_chunk_and_stays_with_its_text(tokeniser: Tokeniser) -> None:
    page = PageBuilder()
    for number in range(12):
        page.heading(f"Part {number}", level=1)
        page.heading(f"Step {number}", level=2)
        page.paragraph(f"Turn the valve {number} times, and wait. " * 4)
    built_page = Page(number=1, text=page.text(), structure=page.structure())
    texts = [chunk.text for chunk in chunked(tokeniser, built_page, most=120)]
    assert len(texts) > 4
    assert all(text.startswith("Part") for text in texts)
    assert not any(text.split("\n")[-1].startswith(("Part", "Step")) for text in texts)


def test_pages_of_prose_have_the_chunks_of_earlier_versions(tokeniser: Tokeniser) -> None:
    """The digest is that of the ids which version 2 of the chunker made of the same pages."""
    verbs = ["turns", "stops", "waits"]
    words = [f"{noun} {verb}" for noun in ("pump", "valve", "heron", "motor") for verb in verbs]
    sentences = [f"The {words[n * 7 % 12]} {n % 5} times, and the {words[n * 5 % 12]}." for n in range(400)]
    table = "\n".join(f"{n} {words[n % 12]} {n * n}" for n in range(200))
    pages = [
        Page(number=1, text=" ".join(sentences[:200])),
        Page(number=2, text="\n\n".join(" ".join(sentences[n : n + 4]) for n in range(200, 400, 4))),
        Page(number=3, text=table),
    ]
    ids = [chunk.id for most in (40, 254) for chunk in chunked(tokeniser, *pages, most=most)]
    assert blake2b("".join(ids).encode(), digest_size=8).hexdigest() == "ba745fae76101d77"
