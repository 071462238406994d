"""Chunks are found by words of their own language, in stores with one language and with several."""

from collections.abc import Iterator
from uuid import uuid4

import numpy as np
import pytest
from psycopg import sql
from psycopg_pool import ConnectionPool

from cluster.documents.chunks import chunk_store
from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.chunks.chunk_words import renew_words
from cluster.documents.indexing import ChunkIndex
from cluster.settings import Settings
from cluster.vector_index.attributes import merged_attributes
from cluster.vector_index.text_configurations import CONFIGURATIONS, text_configuration
from tests.cluster.languages.texts import CHINESE, ENGLISH, FRENCH, GERMAN

ORG, DIM = "default", 3
TEXTS = {"de": GERMAN, "fr": FRENCH, "zh": CHINESE, "en": ENGLISH}
#: Words that the text of the language contains in another form only; Chinese has no other forms.
QUESTIONS = {
    "de": ["Haus", "PUMPE", "Behälters", "gereinigte Pumpe"],
    "fr": ["bâtiment", "pompe", "augmenter", "semaines"],
    "zh": ["房屋", "水泵", "阀门", "检查水泵"],
    "en": ["house", "checking", "cleaning", "loudly"],
}


@pytest.fixture
def index(settings: Settings, pool: ConnectionPool) -> Iterator[tuple[ChunkIndex, str]]:
    """A chunk index, and the name of a new collection."""
    index, name = open_chunk_index(settings, pool), f"t{uuid4().hex[:12]}"
    index.ensure(name, dim=DIM)
    yield index, name
    with pool.connection() as connection:
        connection.execute(f"DROP TABLE vectors_{name}")
        connection.execute("DELETE FROM vector_collections WHERE name = %s", [name])
        connection.execute("DELETE FROM vector_store_text_configurations WHERE vector_store LIKE 'vs\\_of%'")


def fill(index: ChunkIndex, collection: str, store: str, *languages: str, mark: bool = True) -> None:
    rows = [
        ChunkRecord(
            id=f"{language} {copy}",
            document=language,
            text=TEXTS[language],
            attributes={"ordinal": copy, **({"language": language} if mark else {})},
            vector=np.ones(DIM, np.float32),
        )
        for language in languages
        for copy in range(2)
    ]
    index.upsert(ORG, store, rows, collection=collection)


def scores(pool: ConnectionPool, collection: str, store: str, text: str) -> dict[str, float]:
    with pool.connection() as connection:
        found = chunk_store.text_configurations(connection, ORG, store)
        by_words, by_phrase = chunk_store.rank_by_text(
            *(connection, ORG, store, text), collection=collection, k=50, filter=None, configurations=found
        )
    assert {one.id for one in by_phrase} <= {one.id for one in by_words}
    return {one.id: one.score for one in by_words}


def test_chunks_are_found_by_other_forms_of_their_words(
    index: tuple[ChunkIndex, str], pool: ConnectionPool
) -> None:
    fill(*index, "vs_of_all", *TEXTS)
    for language in TEXTS:
        fill(*index, f"vs_of_{language}", language)
    for language, questions in QUESTIONS.items():
        ids = {f"{language} 0", f"{language} 1"}
        for question in questions:
            alone = scores(pool, index[1], f"vs_of_{language}", question)
            assert alone.keys() == ids, question
            among_all = scores(pool, index[1], "vs_of_all", question)  # a word can be of two languages
            assert {id: score for id, score in among_all.items() if id in ids} == alone
            hits = index[0].search(ORG, "vs_of_all", collection=index[1], text=question)
            assert {hit.id for hit in hits} == among_all.keys()


def test_chunks_of_older_releases_get_the_configuration_of_their_language(
    index: tuple[ChunkIndex, str], pool: ConnectionPool
) -> None:
    fill(*index, "vs_of_old", "de", "en", mark=False)
    with pool.connection() as connection:
        connection.execute(
            "DELETE FROM vector_store_text_configurations"
            " WHERE vector_store = 'vs_of_old' AND configuration <> 'english'"
        )
        connection.execute(
            f"UPDATE vectors_{index[1]} SET words = to_tsvector('english', text), words_version = 1,"
            " text_configuration = 'english'"
        )
    assert scores(pool, index[1], "vs_of_old", "Haus") == {}
    assert scores(pool, index[1], "vs_of_old", "house").keys() == {"en 0", "en 1"}
    assert renew_words(pool, limit_s=60, collection=index[1], again=True) == 4
    assert scores(pool, index[1], "vs_of_old", "Haus").keys() == {"de 0", "de 1"}
    assert scores(pool, index[1], "vs_of_old", "house").keys() == {"en 0", "en 1"}


@pytest.mark.parametrize(
    ("attributes", "configuration"),
    [
        ({"language": "fr"}, "french"),
        ({"language": "fr-CA"}, "french"),
        ({"language": "fr_CA"}, "french"),
        ({"language": "French"}, "french"),
        ({"language": "pl"}, "simple"),
        ({"language": "not a language"}, "english"),
        ({"language": "zh"}, "english"),
        ({"language": "und"}, "english"),
        ({"language": ["de"]}, "english"),
        ({}, "english"),
        ({"ordinal": 0}, "german"),
        (
            merged_attributes({"ordinal": 0}, {"language": "English"}, facts={"language": "de"}, file="f"),
            "german",
        ),
    ],
)
def test_the_detected_language_or_the_attribute_of_a_given_vector_decides(
    attributes: dict[str, object], configuration: str
) -> None:
    assert text_configuration(GERMAN, attributes) == configuration


def test_postgres_has_every_configuration(pool: ConnectionPool) -> None:
    with pool.connection() as connection:
        known = {name for (name,) in connection.execute("SELECT cfgname FROM pg_ts_config")}
    assert set(CONFIGURATIONS.values()) <= known


def test_a_chunk_table_of_the_release_before_gets_the_column(
    index: tuple[ChunkIndex, str], pool: ConnectionPool
) -> None:
    table = f"vectors_{index[1]}"
    with pool.connection() as connection:
        connection.execute(f"ALTER TABLE {table} DROP COLUMN text_configuration")
        connection.execute(sql.SQL("SELECT count_changes_of({})").format(sql.Literal(table)))
    fill(*index, "vs_of_de", "de")
    assert scores(pool, index[1], "vs_of_de", "Haus")
