"""Retrieval finds chunks of a real store, called as a worker calls it: without an HTTP request or Ray."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray
from psycopg import Connection
from psycopg.sql import SQL, Identifier
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.chunks.chunk_ranking import StoreSearch
from cluster.documents.vector_stores import attaching
from cluster.documents.vector_stores.stores import VectorStore, get_store
from cluster.engines.contract import Fingerprint
from cluster.errors import Conflict, InvalidInput, NotFound
from cluster.retrieval import (
    QueryVectors,
    Ranker,
    ResultCache,
    RetrievalOptions,
    Retrieved,
    retrieve,
    words_first,
)
from cluster.retrieval.words_first import WordsFirst
from cluster.settings import Settings
from tests.indexed_files import make_files, process

T = TypeVar("T")

#: Text and direction of each chunk of the file, a page each.
CHUNKS = {
    "Herons stand still in the pond.": (1.0, 0.0, 0.0),
    "Swifts sleep on the wing.": (0.6, 0.8, 0.0),
    "Only the operator may stop the pump.": (0.0, 0.0, 1.0),
}
HERON, SWIFT, PUMP = CHUNKS
#: Directions of the questions.
QUESTIONS = {
    "herons": (1.0, 0.0, 0.0),
    "swifts": (0.0, 1.0, 0.0),
    "pump": (0.0, 0.0, 1.0),
    "anything but herons": (-1.0, 0.0, 0.0),
    # Its vector lies nearest to the swifts; its words are those of the pump.
    "stop the pump": (0.0, 1.0, 0.0),
}
VECTORS_ALONE = RetrievalOptions(ranker=Ranker.VECTORS, mode="exact")


@dataclass
class Asker:
    """Retrieves from one store, with the vectors of ``QUESTIONS``."""

    pool: ConnectionPool
    indexes: ChunkIndexes
    store: VectorStore
    fingerprint: Fingerprint
    #: Questions that were embedded.
    embedded: list[str] = field(default_factory=list)
    #: Texts that the cross-encoder scored, the shortest best; None: there is no cross-encoder.
    reranked: list[str] | None = None
    cache: ResultCache | None = None
    #: What happens before the model answers; None: the vectors are known at once.
    before_vectors: Callable[[], Awaitable[None]] | None = None
    #: Number of pieces of database work.
    works: int = 0

    def ask(
        self,
        *questions: str,
        options: RetrievalOptions = VECTORS_ALONE,
        organisation: str = "",
        store: str = "",
    ) -> Retrieved:
        return asyncio.run(self.retrieve(*questions, options=options, organisation=organisation, store=store))

    async def retrieve(
        self, *questions: str, options: RetrievalOptions, organisation: str = "", store: str = ""
    ) -> Retrieved:
        return await retrieve(
            organisation or self.store.organisation,
            [store or self.store.id],
            questions,
            options,
            in_database=self._in_database,
            embed=self._embed,
            rerank=None if self.reranked is None else self._rerank,
            cache=self.cache,
        )

    async def _in_database(self, work: Callable[[ConnectionPool, ChunkIndexes], T], /) -> T:
        self.works += 1
        return await asyncio.to_thread(work, self.pool, self.indexes)

    async def _embed(self, store: VectorStore, questions: Sequence[str], /) -> QueryVectors:
        assert store.id == self.store.id
        self.embedded += questions
        if self.before_vectors is not None:
            await self.before_vectors()
        vectors = np.array([QUESTIONS[question] for question in questions], dtype=np.float32)
        return QueryVectors(vectors=vectors, fingerprint=self.fingerprint.id, truncated=1)

    async def _rerank(self, question: str, texts: Sequence[str], /) -> NDArray[np.float32]:
        assert self.reranked is not None
        self.reranked += texts
        return np.array([1 / len(text) for text in texts], dtype=np.float32)


@pytest.fixture
def asker(
    connection: Connection[Any],
    pool: ConnectionPool,
    settings: Settings,
    store: VectorStore,
    fingerprint: Fingerprint,
) -> Asker:
    """On a store with one file."""
    indexes = ChunkIndexes(settings, pool)
    indexes.default.ensure(store.collection, dim=fingerprint.dim)
    (file,) = make_files(connection, store.organisation)
    attaching.attach(connection, store, file, attributes={"kind": "guide"})
    vectors = np.array(list(CHUNKS.values()), dtype=np.float32)
    process(connection, indexes.default, store, file, list(CHUNKS), embed=lambda texts: vectors)
    return Asker(pool=pool, indexes=indexes, store=store, fingerprint=fingerprint)


def test_a_chunk_comes_with_its_file_its_page_and_its_place(
    asker: Asker, connection: Connection[Any]
) -> None:
    retrieved = asker.ask("pump", options=RetrievalOptions(max_chunks=1), store="handbook")
    (chunk,) = retrieved.chunks
    (attached,) = connection.execute(
        "SELECT file FROM vector_store_files WHERE vector_store = %s", [asker.store.id]
    ).fetchall()
    assert (chunk.text, chunk.snippet, chunk.question, chunk.score) == (PUMP, PUMP, "pump", 1.0)
    assert (chunk.file, chunk.filename) == (attached[0], "0.txt")
    assert (chunk.page, chunk.start, chunk.end) == (3, 0, len(PUMP))
    assert chunk.attributes == {"kind": "guide"}
    assert retrieved.truncated_questions == 1


def test_a_chunk_that_answers_several_questions_is_there_once_with_its_best_score(asker: Asker) -> None:
    found = asker.ask("herons", "swifts").chunks
    assert [(chunk.text, chunk.question) for chunk in found] == [
        (HERON, "herons"),
        (SWIFT, "swifts"),
        (PUMP, "herons"),
    ]
    assert [chunk.score for chunk in found] == pytest.approx([1.0, 0.8, 0.0])


def test_each_chunk_has_its_cosine_with_any_ranker(asker: Asker) -> None:
    found = asker.ask("herons", options=RetrievalOptions(mode="exact")).chunks
    assert {chunk.text: chunk.similarity for chunk in found} == {
        HERON: pytest.approx(1.0),
        SWIFT: pytest.approx(0.6),
        PUMP: pytest.approx(0.0),
    }


def test_chunks_with_a_negative_cosine_are_left_out(asker: Asker) -> None:
    assert [chunk.text for chunk in asker.ask("anything but herons").chunks] == [PUMP]


def test_words_rank_where_vectors_are_fused_with_them(asker: Asker) -> None:
    assert asker.ask("stop the pump").chunks[0].text == SWIFT
    fused = asker.ask("stop the pump", options=RetrievalOptions(mode="exact")).chunks
    assert fused[0].text == PUMP


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        ({"max_chunks": 1}, [HERON]),
        ({"score_threshold": 0.5}, [HERON, SWIFT]),
        ({"filters": {"type": "gte", "key": "page", "value": 2}}, [SWIFT, PUMP]),
        ({"filters": {"type": "ne", "key": "kind", "value": "guide"}}, []),
    ],
    ids=["max_chunks", "score_threshold", "page", "attribute"],
)
def test_options_narrow_what_is_found(asker: Asker, options: dict[str, Any], texts: list[str]) -> None:
    found = asker.ask("herons", options=replace(VECTORS_ALONE, **options)).chunks
    assert [chunk.text for chunk in found] == texts


def test_the_cross_encoder_decides_among_more_chunks_than_are_wanted(asker: Asker) -> None:
    asker.reranked = []
    options = RetrievalOptions(ranker=Ranker.CROSS_ENCODER, max_chunks=1)
    (chunk,) = asker.ask("herons", options=options).chunks
    assert sorted(asker.reranked) == sorted(CHUNKS)
    assert (chunk.text, chunk.score) == (SWIFT, pytest.approx(1 / len(SWIFT)))


def test_a_retrieval_is_activity_of_its_store(asker: Asker, connection: Connection[Any]) -> None:
    connection.execute(
        "UPDATE vector_stores SET last_active_at = now() - interval '1 hour' WHERE id = %s", [asker.store.id]
    )
    before = get_store(connection, asker.store.organisation, asker.store.id).last_active_at
    asker.ask("herons")
    assert get_store(connection, asker.store.organisation, asker.store.id).last_active_at > before


@pytest.mark.parametrize(
    ("questions", "options"),
    [
        ([], {}),
        (["herons"] * 33, {}),
        (["herons", " \n"], {}),
        (["herons"], {"filters": {"type": "like", "key": "page", "value": 1}}),
        (["herons"], {"ranker": Ranker.CROSS_ENCODER}),
    ],
    ids=["no question", "too many", "a blank one", "unknown operator", "no cross-encoder"],
)
def test_what_cannot_be_searched_for_is_refused_before_it_is_embedded(
    asker: Asker, questions: list[str], options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput):
        asker.ask(*questions, options=RetrievalOptions(**options))
    assert asker.embedded == []


def test_stores_of_another_organisation_or_model_are_not_searched(asker: Asker, stranger: str) -> None:
    with pytest.raises(NotFound):
        asker.ask("herons", organisation=stranger)
    assert asker.embedded == []
    asker.fingerprint = replace(asker.fingerprint, model="other")
    with pytest.raises(Conflict, match=f"{asker.store.fingerprint.id}.*{asker.fingerprint.id}"):
        asker.ask("herons")


@pytest.mark.parametrize(
    ("name", "ranker"),
    [
        ("none", Ranker.VECTORS),
        ("auto", Ranker.FUSED),
        ("default-2024-11-15", Ranker.FUSED),
        ("tiny", Ranker.CROSS_ENCODER),
    ],
)
def test_a_ranker_is_named_as_openai_names_it_or_by_the_cross_encoder(name: str, ranker: Ranker) -> None:
    assert Ranker.named(name, cross_encoder="tiny", param="ranker") is ranker


def test_an_unknown_ranker_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match=r"ranker is 'tiny'; it may be none, auto, default-2024-11-15$"):
        Ranker.named("tiny", cross_encoder=None, param="ranker")


FUSED = RetrievalOptions(mode="exact")


async def after_the_words() -> None:
    """Let the search by words take its turn."""
    await asyncio.sleep(0.05)


def test_the_chunks_are_the_same_if_the_words_are_ranked_before_the_vectors(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = asker.ask("stop the pump", options=FUSED)
    assert asker.works == 2  # the store, then the whole search
    asker.before_vectors = after_the_words
    monkeypatch.setattr(words_first, "VECTORS_WITHIN_S", 60.0)
    assert asker.ask("stop the pump", options=FUSED) == at_once
    assert asker.works == 4
    monkeypatch.setattr(words_first, "VECTORS_WITHIN_S", 0.0)
    assert asker.ask("stop the pump", options=FUSED) == at_once
    assert WordsFirst.waiting == 0


def test_words_and_vectors_are_ranked_in_one_state_of_the_store(
    asker: Asker, connection: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks that are deleted between the two rankings are found as before."""
    monkeypatch.setattr(words_first, "VECTORS_WITHIN_S", 60.0)
    whole = asker.ask("stop the pump", options=FUSED)
    ranked = threading.Event()
    rank = StoreSearch.by_texts

    def noting(*args: Any) -> Any:
        found = rank(*args)
        ranked.set()
        return found

    async def delete() -> None:
        assert await asyncio.to_thread(ranked.wait, 60)
        collection = asker.indexes.of(asker.store).collection(asker.store.collection)
        delete = SQL("DELETE FROM {} WHERE vector_store = %s").format(Identifier(collection.table))
        connection.execute(delete, [asker.store.id])
        connection.commit()

    monkeypatch.setattr(StoreSearch, "by_texts", noting)
    asker.before_vectors = delete
    assert asker.ask("stop the pump", options=FUSED).chunks == whole.chunks
    asker.before_vectors = None
    assert asker.ask("stop the pump", options=FUSED).chunks == []


def test_a_model_that_fails_ends_the_search_by_words(asker: Asker) -> None:
    async def fail() -> None:
        await after_the_words()
        raise Conflict("no model")

    asker.before_vectors = fail
    with pytest.raises(Conflict, match="no model"):
        asker.ask("stop the pump", options=FUSED)
    assert WordsFirst.waiting == 0


def test_searches_keep_few_connections_while_they_wait_for_vectors(asker: Asker) -> None:
    asker.before_vectors = after_the_words
    most = 0

    async def ask_many() -> None:
        nonlocal most

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, WordsFirst.waiting)
                await asyncio.sleep(0.001)

        watching = asyncio.create_task(watch())
        await asyncio.gather(*(asker.retrieve("stop the pump", options=FUSED) for _ in range(12)))
        watching.cancel()

    asyncio.run(ask_many())
    assert 1 <= most <= words_first.MAX_WAITING
