"""In bulk, one engine computes the vectors of the semantic chunker and of the chunks."""

import numpy as np
import pyarrow as pa
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.vector_stores.stores import ensure_store
from cluster.engines import Registry, describe, open_engine
from cluster.records import document_id
from cluster.settings import Settings
from data_jobs.stages.chunk import Chunk
from data_jobs.stages.chunk_and_embed import ChunkAndEmbed
from data_jobs.stages.document_row import DocumentRow, new_row, to_rows, to_table, unpack

TEXT = (
    "Rooks and crows build their nests in high elms. " * 30
    + "Close the valve before you open the pump. " * 30
)


def test_a_row_leaves_the_stage_with_its_chunks_and_their_vectors(
    settings: Settings, pool: ConnectionPool, organisation: str
) -> None:
    settings = settings.model_copy(update={"organisation": organisation})
    entry = Registry(settings).default
    with pool.connection() as connection:
        store = ensure_store(
            connection,
            organisation,
            "semantic",
            fingerprint=describe(entry),
            chunking_strategy={"type": "semantic"},
        )
    open_chunk_index(settings, pool).ensure(store.collection, dim=store.fingerprint.dim)
    row: DocumentRow = {
        **new_row(document_id(organisation, store.id, "birds"), "file:///birds.txt", ""),
        "page_texts": [TEXT],
    }
    (done,) = to_rows(
        ChunkAndEmbed(settings, store, job="job_none", organisation=organisation)(to_table([row]))
    )
    chunks: pa.Table = unpack(done)
    engine = open_engine(entry)
    alone = Chunk(settings, store.fingerprint, strategy=store.chunking_strategy, embed=engine.embed_ids)(row)
    assert chunks["id"].to_pylist() == unpack(alone)["id"].to_pylist()
    assert not any("elms" in text and "pump" in text for text in chunks["text"].to_pylist())
    tokens = sum(len(ids) + 2 for ids in chunks["token_ids"].to_pylist())
    assert 0.9 * tokens < done["chunker_tokens"] == alone["chunker_tokens"] <= tokens
    vectors = np.frombuffer(done["vectors"], np.float32).reshape(-1, store.fingerprint.dim)
    expected = engine.embed_ids([np.array(ids, np.int32) for ids in chunks["token_ids"].to_pylist()])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
