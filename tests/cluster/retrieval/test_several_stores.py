"""A retrieval searches several stores together. Stores of one model answer as one store with all chunks."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.vector_stores import stores
from cluster.documents.vector_stores.store_versions import find_versioned_store
from cluster.documents.vector_stores.stores import VectorStore
from cluster.engines.contract import Fingerprint
from cluster.errors import InvalidInput, NotFound
from cluster.retrieval import QueryVectors, Ranker, ResultCache, RetrievalOptions, Retrieved, retrieve
from cluster.settings import Settings
from cluster.settings.indexes import IndexSource
from cluster.settings.values import Table
from tests import folder_index

T = TypeVar("T")
WORDS = "heron swift pump valve pond wing crow oil seal rotor nest beak".split()
FUSED = RetrievalOptions(mode="exact", max_chunks=50)
#: Name of an index outside Postgres.
OUTSIDE = "outside"
VECTORS = replace(FUSED, ranker=Ranker.VECTORS)


@dataclass
class Stores:
    """Makes stores, and retrieves from them. The vector of a text depends on the text and on the model."""

    connection: Connection[Any]
    pool: ConnectionPool
    indexes: ChunkIndexes
    organisation: str
    fingerprint: Fingerprint
    #: For each call of the model: the name of the model, and the questions.
    embedded: list[tuple[str, Sequence[str]]] = field(default_factory=list)
    cache: ResultCache | None = None

    def make(self, *texts: str, model: str = "small", index: str = "") -> VectorStore:
        fingerprint = replace(self.fingerprint, model=model)
        new = stores.NewStore(index=index or self.indexes.default.name)
        store = stores.create_store(self.connection, self.organisation, new, fingerprint=fingerprint)
        self.indexes.of(store).ensure(store.collection, dim=3)
        self.write(store, *texts)
        return store

    def write(self, store: VectorStore, *texts: str, document: str = "doc") -> None:
        rows = [
            ChunkRecord(
                id=text, document=document, text=text, attributes={}, vector=self._vector(store, text)
            )
            for text in texts
        ]
        self.indexes.of(store).replace_document(
            self.organisation, store.id, document, rows, collection=store.collection
        )

    def ask(
        self, found_in: Sequence[VectorStore | str], *questions: str, options: RetrievalOptions, **more: Any
    ) -> Retrieved:
        names = [store if isinstance(store, str) else store.id for store in found_in]
        return asyncio.run(
            retrieve(
                self.organisation,
                names,
                questions,
                options,
                in_database=self._in_database,
                embed=self._embed,
                rerank=self._rerank,
                cache=self.cache,
                **more,
            )
        )

    async def _in_database(self, work: Callable[[ConnectionPool, ChunkIndexes], T], /) -> T:
        return await asyncio.to_thread(work, self.pool, self.indexes)

    async def _embed(self, store: VectorStore, questions: Sequence[str], /) -> QueryVectors:
        self.embedded.append((store.fingerprint.model, questions))
        vectors = np.array([self._vector(store, question) for question in questions])
        return QueryVectors(vectors=vectors, fingerprint=store.fingerprint.id)

    async def _rerank(self, question: str, texts: Sequence[str], /) -> Any:
        return np.array([1 / (1 + len(text)) for text in texts], dtype=np.float32)

    def _vector(self, store: VectorStore, text: str) -> Any:
        numbers = np.random.default_rng([*text.encode(), *store.fingerprint.model.encode()])
        vector = numbers.normal(size=3) + 1.0
        return (vector / np.linalg.norm(vector)).astype(np.float32)


@pytest.fixture
def made(
    pool: ConnectionPool,
    connection: Connection[Any],
    settings: Settings,
    organisation: str,
    fingerprint: Fingerprint,
) -> Stores:
    folder_index.behave(settings)
    outside = Table({OUTSIDE: IndexSource(kind=folder_index.NAME)})
    indexes = ChunkIndexes(settings.model_copy(update={"indexes": outside}), pool)
    return Stores(connection, pool, indexes, organisation, fingerprint)


def texts(count: int, seed: int) -> list[str]:
    draw = np.random.default_rng(seed)
    return [f"{number} " + " ".join(draw.choice(WORDS, size=9)) for number in range(count)]


@pytest.mark.parametrize("index", ["", OUTSIDE], ids=["in Postgres", "one of them outside"])
@pytest.mark.parametrize("options", [FUSED, VECTORS, replace(FUSED, ranker=Ranker.CROSS_ENCODER)])
def test_stores_of_one_model_answer_as_one_store_with_all_chunks(
    made: Stores, options: RetrievalOptions, index: str
) -> None:
    several = texts(90, seed=1)
    whole = made.make(*several)
    parts = [
        made.make(*several[:5]),
        made.make(*several[5:60], index=index),
        made.make(*several[60:]),
        made.make(),
    ]
    questions = ["heron on the pond", "oil seal of the rotor", "nothing of these"]
    expected = made.ask([whole], *questions, options=options).chunks
    found = made.ask(parts, *questions, options=options).chunks
    assert [(chunk.text, chunk.score) for chunk in found] == [
        (chunk.text, pytest.approx(chunk.score)) for chunk in expected
    ]
    assert {chunk.store for chunk in found} == {part.id for part in parts[:3]}


def test_a_chunk_names_its_store_also_if_two_stores_have_a_chunk_with_the_same_id(made: Stores) -> None:
    one, two = made.make("heron"), made.make("heron")
    chunks = made.ask([one, two], "heron", options=FUSED).chunks
    assert {(chunk.id, chunk.store) for chunk in chunks} == {("heron", one.id), ("heron", two.id)}


def test_the_result_has_the_version_of_each_store_and_a_store_named_twice_is_searched_once(
    made: Stores,
) -> None:
    one, two = made.make("heron"), made.make("pump")
    retrieved = made.ask([two.id, one.id, two.id], "heron", options=FUSED)
    assert len(retrieved.chunks) == 2
    assert retrieved.versions == {
        store.id: find_versioned_store(made.connection, made.organisation, store.id).version
        for store in (two, one)
    }


def test_questions_are_embedded_once_for_each_model_and_ranks_of_models_are_fused(made: Stores) -> None:
    one, two = made.make("heron", "pump"), made.make("swift", "heron and swift", "valve")
    other = made.make("heron of another model", model="other")
    found = made.ask([one, two, other], "heron", "swift", options=FUSED).chunks
    assert sorted(made.embedded) == [("other", ("heron", "swift")), ("small", ("heron", "swift"))]
    assert len(found) == 6
    assert max(chunk.score for chunk in found) <= 1.0
    # Cosines of two models cannot be compared. So each model's best chunk has the score of a first rank.
    best = made.ask([one, two, other], "heron", options=VECTORS).chunks[:2]
    assert {chunk.store == other.id for chunk in best} == {True, False}
    assert [chunk.score for chunk in best] == [1.0, 1.0]


def test_a_vector_searches_stores_of_one_model_only(made: Stores) -> None:
    one, two, other = made.make("heron"), made.make("pump"), made.make("crow", model="other")
    vector = made._vector(two, "pump").tolist()
    assert made.ask([one, two], options=VECTORS, vector=vector).chunks[0].text == "pump"
    with pytest.raises(InvalidInput, match="a vector belongs to one model") as refused:
        made.ask([one, other], options=VECTORS, vector=vector)
    assert refused.value.param == "vector"


def test_too_many_stores_and_too_many_searches_are_refused_before_anything_is_embedded(made: Stores) -> None:
    with pytest.raises(InvalidInput, match="33 vector stores are named; a search takes 1 to 32"):
        made.ask(["a"] * 33, "heron", options=FUSED)
    with pytest.raises(InvalidInput, match="0 vector stores"):
        made.ask([], "heron", options=FUSED)
    with pytest.raises(InvalidInput, match=r"13 queries in 10 vector stores are 130 searches.* 128"):
        made.ask(["a"] * 10, *["heron"] * 13, options=FUSED)
    one = made.make("heron")
    with pytest.raises(NotFound):
        made.ask([one.id, "missing"], "heron", options=FUSED)
    assert made.embedded == []


def test_a_change_in_any_of_the_stores_ends_the_cached_result(made: Stores) -> None:
    made.cache = ResultCache(1 << 20)
    one, two = made.make("heron"), made.make("pump")
    for _ in range(2):
        assert len(made.ask([one, two], "heron", options=FUSED).chunks) == 2
    assert (made.cache.stats.hits, made.cache.stats.misses) == (1, 1)
    made.write(two, "swift", document="second")
    assert len(made.ask([one, two], "heron", options=FUSED).chunks) == 3
    made.write(one, document="doc")
    assert {chunk.text for chunk in made.ask([one, two], "heron", options=FUSED).chunks} == {"pump", "swift"}
    assert len(made.ask([two], "heron", options=FUSED).chunks) == 2
    assert made.cache.stats.hits == 1
