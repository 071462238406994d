"""The structure of a page travels through the rows of the pipeline to the chunks that a search finds."""

import numpy as np
import pyarrow as pa
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.vector_stores.stores import ensure_store
from cluster.engines import Registry, describe
from cluster.page_structure import ChunkPlace
from cluster.records import Page, document_id
from cluster.retrieval.found_chunks import chunks_of
from cluster.settings import Settings
from data_jobs.stages.chunk import Chunk
from data_jobs.stages.document_row import (
    DocumentRow,
    new_row,
    page_columns,
    pages_of,
    to_rows,
    to_table,
    unpack,
)
from data_jobs.stages.embed import new_chunk_ids
from data_jobs.stages.formats.page_builder import PageBuilder
from data_jobs.stages.keywords import Keywords
from data_jobs.stages.map_rows import map_rows
from data_jobs.stages.write import Write


def costs() -> list[Page]:
    sheet = PageBuilder(label="Costs")
    sheet.heading("Travel", level=1)
    sheet.table([["City", "EUR"], ["Rome", "410"], ["Bern", "200"]], first_row=4, columns="A:B")
    return [
        Page(number=1, text="A page of prose."),
        Page(number=2, text=sheet.text(), structure=sheet.structure()),
    ]


def test_rows_carry_the_structure_of_pages() -> None:
    row = new_row("doc_1", "file:///costs.xlsx", "")
    (carried,) = to_rows(to_table([{**row, **page_columns(costs())}]))
    assert pages_of(carried) == costs()
    assert page_columns(costs()[:1])["structures"] == []


def test_a_search_shows_the_place_of_a_chunk_and_filters_use_it(
    settings: Settings, pool: ConnectionPool, organisation: str
) -> None:
    settings = settings.model_copy(update={"organisation": organisation})
    with pool.connection() as connection:
        store = ensure_store(
            connection, organisation, "structured", fingerprint=describe(Registry(settings).default)
        )
    index = open_chunk_index(settings, pool)
    index.ensure(store.collection, dim=store.fingerprint.dim)
    row: DocumentRow = {
        **new_row(document_id(organisation, store.id, "costs"), "file:///costs.xlsx", ""),
        **page_columns(costs()),
        "content_hash": "aa",
        "media_type": "application/pdf",
        "pages": 2,
        "pages_with_text": 2,
    }
    table = map_rows(Keywords(settings), settings)(
        map_rows(Chunk(settings, store.fingerprint), settings)(to_table([row]))
    )
    (row,) = to_rows(table)
    vectors = np.eye(len(new_chunk_ids(unpack(row))), store.fingerprint.dim, dtype=np.float32)
    written: pa.Table = Write(settings, store, job="job_none", pipeline_version="v")(
        to_table([{**row, "vectors": vectors.tobytes()}])
    )
    assert written["outcome"].to_pylist() == ["ok"]

    def found(filter: dict[str, str] | None) -> list[ChunkPlace]:
        hits = index.search(
            *(organisation, store.id), collection=store.collection, text="Rome prose", filter=filter
        )
        return [chunk.place for chunk in chunks_of([(hit, "Rome") for hit in hits])]

    place = ChunkPlace(heading="Travel", label="Costs", cells="A4:B6")
    assert sorted(found(None), key=str) == sorted([ChunkPlace(), place], key=str)
    assert found({"type": "eq", "key": "cells", "value": "A4:B6"}) == [place]
