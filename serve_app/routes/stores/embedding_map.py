"""GET /v1/vector_stores/{id}/embedding_map shows chunks of a vector store as points in a plane.

The page "Stores" of the console draws the points. OpenAI's API has no such route.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Literal, Self

import numpy as np
from fastapi import Query
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.embedding_map import MAX_POINTS, Projection, project, sample
from cluster.documents.vector_stores.stores import get_store
from cluster.text.graphemes import boundary
from cluster.vector_index.attributes import FILE, page_text, system_attributes
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.json_route import json_router
from serve_app.edge.response_model import ResponseModel
from serve_app.edge.service_access import ServiceDep

#: Maximum number of chunks if the request does not name a limit.
DEFAULT_POINTS = 1_000
#: Maximum number of characters from the beginning of a chunk that the answer contains.
BEGINNING_CHARACTERS = 160

router = json_router(404)


class MapPoint(ResponseModel):
    """A chunk as a point of the map."""

    x: float
    """Position along the direction in which the vectors differ most."""
    y: float
    """Position along the direction in which the vectors differ second most."""
    chunk_id: str
    """Id of the chunk."""
    file_id: str
    """Id of the attached file, or of the document if a bulk ingest added the document."""
    filename: str
    """Name of the file; empty if the chunk has none."""
    page: int | None
    """Page of the document, from 1; null if the document has no pages."""
    start: int | None
    """Position of the chunk's first character on the page, counted from 0."""
    end: int | None
    """Position after the chunk's last character on the page."""
    text: str
    """The beginning of the chunk's text."""

    @classmethod
    def of(cls, chunk: ChunkRecord, place: Sequence[float]) -> Self:
        """Convert the chunk and its place into the object that answers contain."""
        own, text = system_attributes(chunk.attributes), page_text(chunk.text, chunk.attributes)
        return cls(
            x=float(place[0]),
            y=float(place[1]),
            chunk_id=chunk.id,
            file_id=own.get(FILE, chunk.document),
            filename=own.get("filename", ""),
            page=own.get("page"),
            start=own.get("start"),
            end=own.get("end"),
            text=text[: boundary(text, BEGINNING_CHARACTERS)],
        )


class EmbeddingMap(ResponseModel):
    """The vectors of a vector store, projected onto a plane."""

    object: Literal["vector_store.embedding_map"] = "vector_store.embedding_map"
    """Always `vector_store.embedding_map`."""
    vector_store_id: str
    """Id of the vector store."""
    data: list[MapPoint]
    """The points. Near points have similar vectors, as far as two axes can show the similarity."""
    explained_variance: list[float]
    """For each of the two axes, the share of the vectors' variance that the axis shows, from 0 to 1."""

    @classmethod
    def of(cls, store: str, chunks: Sequence[ChunkRecord], drawn: Projection) -> Self:
        """Return the map with each chunk at its point."""
        return cls(
            vector_store_id=store,
            data=[MapPoint.of(chunk, place) for chunk, place in zip(chunks, drawn.points, strict=True)],
            explained_variance=list(drawn.explained),
        )


@router.get(
    "/v1/vector_stores/{vector_store_id}/embedding_map",
    summary="Get a map of the vectors of a store",
    responses=documented_errors(409),
)
async def get_map(
    vector_store_id: str,
    service: ServiceDep,
    organisation: Organisation,
    limit: Annotated[
        int, Query(ge=1, le=MAX_POINTS, description="Maximum number of chunks on the map")
    ] = DEFAULT_POINTS,
) -> EmbeddingMap:
    """Projects a sample of the store's vectors onto the plane in which they differ most (principal component
    analysis). The same store gives the same map until its chunks change.
    """

    def read(pool: ConnectionPool, indexes: ChunkIndexes) -> tuple[str, list[ChunkRecord]]:
        with translated(), pool.connection() as connection:
            store = get_store(connection, organisation, vector_store_id)
        return store.id, sample(pool, indexes.of(store), store, limit=limit)

    async with service.map_turn:
        store, chunks = await service.in_database(read)
        # In a thread, because the projection of many long vectors would block the event loop for a tenth of a
        # second.
        return await asyncio.to_thread(_drawn, store, chunks)


def _drawn(store: str, chunks: Sequence[ChunkRecord]) -> EmbeddingMap:
    vectors = [chunk.vector for chunk in chunks if chunk.vector is not None]
    stacked = np.stack(vectors) if vectors else np.empty((0, 1), dtype=np.float32)
    return EmbeddingMap.of(store, chunks, project(stacked))
