"""Every chunker loses no token, keeps the limit, and makes exact slices with ids from their content."""

from collections.abc import Callable
from itertools import pairwise
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cluster.engines import Registry, Tokeniser, open_tokeniser
from cluster.records import Page, PageChunk
from cluster.settings import Settings
from data_jobs.stages.chunkers.contract import Chunker
from data_jobs.stages.chunkers.table import CHUNKERS, chunker_for, find_chunker
from data_jobs.stages.chunkers.token_places import tokenise
from tests.data_jobs.stages.chunkers.test_content_defined import texts
from tests.data_jobs.stages.chunkers.test_structured_chunks import BLOCKS, built, text_ids

NAMES = [entry.name for entry in CHUNKERS]
#: Makes one vector from the ids of each input.
Vectors = Callable[[list[np.ndarray]], np.ndarray]


@pytest.fixture(scope="module")
def tokeniser() -> Tokeniser:
    """The tokeniser of the model."""
    return open_tokeniser(Registry(Settings()).default)


def directions(inputs: list[np.ndarray]) -> np.ndarray:
    """A vector for each input, which depends on its tokens."""
    vectors = [np.random.default_rng(int(ids.sum())).normal(size=8) for ids in inputs]
    return np.array(vectors, dtype=np.float32).reshape(-1, 8)


def chunked(chunker: Chunker, pages: list[Page], vectors: Vectors = directions) -> list[PageChunk]:
    prepared = chunker.prepared("doc", pages)
    return prepared.finish(vectors(prepared.inputs)).chunks


def opened(name: str, tokeniser: Tokeniser, most: int = 254, overlap: int | None = None) -> Chunker:
    overlap = most // 2 if overlap is None else overlap
    return find_chunker(name).open(tokeniser, "model", max_tokens=most, overlap_tokens=overlap)


pages = st.lists(
    st.one_of(texts.map(lambda text: Page(number=1, text=text)), BLOCKS.map(built)), min_size=1, max_size=3
)


@pytest.mark.parametrize("name", NAMES)
@hypothesis_settings(max_examples=25)
@given(pages=pages, most=st.sampled_from([12, 40, 254]))
def test_no_token_is_lost_and_none_is_over_the_limit(
    tokeniser: Tokeniser, name: str, pages: list[Page], most: int
) -> None:
    pages = [Page(number=n, text=page.text, structure=page.structure) for n, page in enumerate(pages, 1)]
    chunks = chunked(opened(name, tokeniser, most), pages)
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    for page, tokens in zip(pages, tokenise(tokeniser, [page.text for page in pages]), strict=True):
        mine = [chunk for chunk in chunks if chunk.page == page.number]
        covered = 0
        all_ids = tokens.ids.tolist()
        for chunk in mine:
            assert page.text[chunk.start : chunk.end] == chunk.text != ""
            assert len(chunk.token_ids) <= max(most, 80)
            ids = list(text_ids(tokeniser, chunk))
            first = int(np.searchsorted(tokens.offsets[:, 0], chunk.start))
            assert all_ids[first : first + len(ids)] == ids
            assert first <= covered if name == "fixed" else first == covered
            assert first + len(ids) > covered
            covered = first + len(ids)
        assert covered == len(all_ids)


@pytest.mark.parametrize("name", NAMES)
def test_a_document_without_text_has_no_chunk(tokeniser: Tokeniser, name: str) -> None:
    chunker = opened(name, tokeniser)
    assert chunked(chunker, []) == chunked(chunker, [Page(number=1, text=" \n")]) == []


@pytest.mark.parametrize("name", NAMES)
def test_equal_documents_have_equal_ids_and_a_model_has_its_own(tokeniser: Tokeniser, name: str) -> None:
    page = built([("heading", "Nests", 1), ("paragraph", "Rooks build in elms. " * 60, None)])
    first, again = (chunked(opened(name, tokeniser), [page]) for _ in range(2))
    assert first == again
    other = find_chunker(name).open(tokeniser, "other model", max_tokens=254)
    assert not {chunk.id for chunk in first} & {chunk.id for chunk in chunked(other, [page])}


def guide() -> Page:
    parts: list[tuple[str, object, object]] = [("heading", "Guide", 1), ("paragraph", "Read this.", None)]
    for system in ("Linux", "Windows"):
        parts += [("heading", "Install", 2), ("heading", system, 3)]
        parts.append(("paragraph", f"Use the package of {system}. " * 30, None))
    parts.append(("table", [["File", "Use"], *([f"f{n}", "configuration"] for n in range(60))], True))
    return built(parts)


def test_the_heading_chunker_begins_at_headings_and_shows_those_above(tokeniser: Tokeniser) -> None:
    chunks = chunked(opened("headings", tokeniser, most=100), [guide()])
    contexts = [(chunk.context.replace("\n", " / "), chunk.text[:14]) for chunk in chunks]
    header = "| File | Use | / | --- | --- |"
    assert contexts[:3] == [
        ("", "Guide\n\nRead th"),
        ("Guide", "Install\n\nLinux"),
        ("Guide > Install > Linux", "Use the packag"),
    ]
    assert (f"Guide > Install > Windows / {header}", "| f59 | config") in [
        (context, text) for context, text in contexts if text.startswith("| f")
    ] or contexts[-1][0] == f"Guide > Install > Windows / {header}"


def test_a_heading_of_an_earlier_page_stays_in_force(tokeniser: Tokeniser) -> None:
    first, second = built([("heading", "Guide", 1)]), built([("paragraph", "It goes on.", None)])
    chunks = chunked(opened("headings", tokeniser), [first, Page(number=2, text=second.text)])
    assert [(chunk.context, chunk.text) for chunk in chunks] == [("", "Guide"), ("Guide", "It goes on.")]


def test_fixed_chunks_have_the_asked_length_and_overlap(tokeniser: Tokeniser) -> None:
    page = Page(number=1, text=" ".join(f"word {number}" for number in range(600)))
    chunks = chunked(opened("fixed", tokeniser, most=100, overlap=30), [page])
    assert all(95 <= len(chunk.token_ids) <= 100 for chunk in chunks[:-1])
    shared = [one.text[other.start - one.end :] for one, other in pairwise(chunks)]
    counts = [len(tokens.ids) for tokens in tokenise(tokeniser, shared)]
    assert set(counts) <= {28, 29, 30}


def test_a_page_that_the_model_reads_whole_is_one_chunk(tokeniser: Tokeniser) -> None:
    short, long = "A short page. It has two sentences.", "This sentence is one of many. " * 80
    chunks = chunked(opened("none", tokeniser), [Page(number=1, text=short), Page(number=2, text=long)])
    assert chunks[0].text == short
    assert all(230 < len(chunk.token_ids) <= 254 for chunk in chunks[1:-1])


def subject_pages() -> tuple[Page, int]:
    """A page about two subjects, and the character at which the second begins."""
    birds = "Rooks and crows build their nests in high elms. " * 15
    pumps = "Close the valve before the pump is opened for repair. " * 14
    return Page(number=1, text=birds + pumps), len(birds)


def test_the_semantic_chunker_cuts_where_the_subject_changes(tokeniser: Tokeniser) -> None:
    page, change = subject_pages()

    def by_subject(inputs: list[np.ndarray]) -> np.ndarray:
        pump = tokeniser.ids(["pump"])[0][0]
        return np.array([[1, 0] if pump in ids else [0, 1] for ids in inputs], dtype=np.float32)

    chunker = opened("semantic", tokeniser)
    assert change in {chunk.start for chunk in chunked(chunker, [page], by_subject)}
    prepared = chunker.prepared("doc", [page])
    read = sum(len(ids) + tokeniser.special_tokens for ids in prepared.inputs)
    assert 0 < read <= len(tokenise(tokeniser, [page.text])[0].ids)


def test_a_page_of_one_chunk_costs_the_semantic_chunker_nothing(tokeniser: Tokeniser) -> None:
    chunker = chunker_for({"type": "semantic"}).open(tokeniser, "model")
    assert cast("Chunker", chunker).prepared("doc", [Page(number=1, text="A short page.")]).inputs == []
