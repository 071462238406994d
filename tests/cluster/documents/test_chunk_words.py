"""The full text of chunks from older versions is renewed while searches and writes go on."""

from collections.abc import Iterator
from uuid import uuid4

import numpy as np
import psycopg
import pytest
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from cluster.database import migrate as module
from cluster.database import open_pool
from cluster.database.migrate import migrate, migrations
from cluster.database.row_access import OWNER
from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.chunks.chunk_words import BATCH_ROWS, renew_words
from cluster.documents.indexing import ChunkIndex
from cluster.errors import Misconfigured
from cluster.records import MAX_CHUNK_TEXT_BYTES
from cluster.settings import Settings

ORG, STORE, NAME = "default", "vs", "m_old"
ROWS = BATCH_ROWS + 20
#: As the first version made a collection, which nothing here may change.
OLD_COLLECTION = f"""
INSERT INTO vector_collections (name, dim, metric) VALUES ('{NAME}', 3, 'cosine');
CREATE TABLE vectors_{NAME} (
    organisation  text COLLATE "C" NOT NULL,
    vector_store  text COLLATE "C" NOT NULL,
    id            text COLLATE "C" NOT NULL,
    document      text COLLATE "C" NOT NULL,
    text          text NOT NULL,
    attributes    jsonb NOT NULL,
    embedding     vector(3) NOT NULL,
    words         tsvector GENERATED ALWAYS AS (to_tsvector('english', text)) STORED,
    PRIMARY KEY (organisation, vector_store, id)
);
CREATE INDEX ON vectors_{NAME} USING gin (words);
INSERT INTO vectors_{NAME} (organisation, vector_store, id, document, text, attributes, embedding)
SELECT '{ORG}', '{STORE}', 'r' || n, 'd', 'row “number' || n || '”', '{{"page": 1}}', '[1,2,3]'
FROM generate_series(1, {ROWS}) AS n;
"""


@pytest.fixture
def upgraded(
    database_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[ChunkIndex, ConnectionPool]]:
    """A chunk index on a database that an early version filled and this version has migrated."""
    name = f"old_{uuid4().hex[:8]}"
    url = database_url.rpartition("/")[0] + "/" + name
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        with monkeypatch.context() as patch:
            patch.setattr(module, "migrations", lambda: [one for one in migrations() if one.number < 4])
            migrate(url)
        with psycopg.connect(url) as old:
            old.execute(OLD_COLLECTION)
        with open_pool(settings.model_copy(update={"database_url": SecretStr(url)}), access=OWNER) as pool:
            yield open_chunk_index(settings, pool), pool
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def finds(index: ChunkIndex, text: str) -> list[str]:
    return [hit.id for hit in index.search(ORG, STORE, collection=NAME, text=text, k=3)]


def test_old_rows_are_renewed_in_parts_and_lose_nothing(
    upgraded: tuple[ChunkIndex, ConnectionPool],
) -> None:
    index, pool = upgraded
    before = [
        (row.id, row.text, dict(row.attributes), row.vector.tolist())
        for row in index.scan(ORG, STORE, collection=NAME)
    ]
    assert (finds(index, "row"), finds(index, "number7")) == (finds(index, "rows"), [])
    assert renew_words(pool, limit_s=0) == 0
    assert finds(index, "number7") == []
    assert renew_words(pool, limit_s=60) == ROWS
    assert (finds(index, "number7"), finds(index, f"number{ROWS}")) == (["r7"], [f"r{ROWS}"])
    assert renew_words(pool, limit_s=60) == 0
    assert [
        (row.id, row.text, dict(row.attributes), row.vector.tolist())
        for row in index.scan(ORG, STORE, collection=NAME)
    ] == before


def test_a_row_that_a_writer_holds_is_left_for_later_and_what_it_writes_stays(
    upgraded: tuple[ChunkIndex, ConnectionPool],
) -> None:
    index, pool = upgraded
    row = ChunkRecord(
        id="r7", document="d", text="written “meanwhile”", attributes={}, vector=np.ones(3, np.float32)
    )
    with pool.connection() as connection:
        index.make_current(connection, ORG, STORE, "other", [], collection=NAME)
        connection.execute(f"SELECT FROM vectors_{NAME} WHERE id IN ('r7', 'r8') FOR UPDATE")
        assert renew_words(pool, limit_s=60) == ROWS - 2
    index.upsert(ORG, STORE, [row], collection=NAME)
    assert renew_words(pool, limit_s=60) == 1
    assert (finds(index, "meanwhile"), finds(index, "number8"), finds(index, "number7")) == (
        ["r7"],
        ["r8"],
        [],
    )


def test_what_older_code_writes_beside_this_one_is_renewed_too(
    upgraded: tuple[ChunkIndex, ConnectionPool],
) -> None:
    index, pool = upgraded
    with pool.connection() as connection:
        connection.execute(
            f"INSERT INTO vectors_{NAME} VALUES (%s, %s, 'late', 'd', '“late”', '{{}}', '[1,2,3]')",
            [ORG, STORE],
        )
    assert renew_words(pool, limit_s=60) == ROWS + 1
    assert finds(index, "late") == ["late"]
    with pool.connection() as connection:
        connection.execute(
            f"INSERT INTO vectors_{NAME} VALUES (%s, %s, 'later', 'd', '“later”', '{{}}', '[1,2,3]')",
            [ORG, STORE],
        )
    assert (renew_words(pool, limit_s=60), renew_words(pool, limit_s=60, again=True)) == (0, 1)


def test_the_longest_text_without_spaces_is_stored_and_found(
    settings: Settings, pool: ConnectionPool
) -> None:
    index, name = open_chunk_index(settings, pool), f"t{uuid4().hex[:12]}"
    index.ensure(name, dim=3)
    # Every pair of neighbours is another one: more lexemes than any real text of that length has.
    text = "".join(chr(0x4E00 + n * n % 20_011) for n in range(MAX_CHUNK_TEXT_BYTES // 3))
    index.upsert(
        ORG,
        STORE,
        [ChunkRecord(id="a", document="d", text=text, attributes={}, vector=np.ones(3, np.float32))],
        collection=name,
    )
    assert [hit.id for hit in index.search(ORG, STORE, collection=name, text=text[:40])] == ["a"]
    with pool.connection() as connection:
        connection.execute(f"DROP TABLE vectors_{name}")
        connection.execute("DELETE FROM vector_collections WHERE name = %s", [name])


def test_a_database_that_does_not_hold_every_text_is_refused_with_what_to_do(database_url: str) -> None:
    name = f"latin_{uuid4().hex[:8]}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
        )
        try:
            with pytest.raises(Misconfigured, match=r"LATIN1.*create one with ENCODING 'UTF8'"):
                migrate(database_url.rpartition("/")[0] + "/" + name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
