"""Finds a precomputed context for a live question. Each replica has one ``ContextLookup``.

A context is used only if the stores still have the versions at which it was computed, the options of the
search are equal, and the vectors of both questions are similar enough. ``retrieve`` reads the versions before
it calls the lookup, so a search that begins after a write was answered never gets sources from before the
write.
"""

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.documents.chunks import chunk_store
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.chunks.chunk_ranking import Hit
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.vector_stores.store_versions import VersionedStore
from cluster.precomputed.contexts import (
    PrecomputedContext,
    context_key,
    contexts_of_key,
    versions_of,
)
from cluster.retrieval import QueryVectors, RetrievalOptions, RetrievedChunk, RunInDatabase
from cluster.retrieval.found_chunks import chunks_of

#: Seconds after which a replica reads the contexts of a key again, so that it finds new contexts.
READ_AGAIN_S = 60.0
#: Maximum number of keys whose contexts a replica keeps in memory.
KEPT_KEYS = 256


@dataclass(slots=True)
class ContextStats:
    """The statistics of a replica's lookups. The values are counters, which only grow."""

    #: Number of questions that got a precomputed context.
    hits: int = 0
    #: Number of questions that got no context, although there are contexts with the same key.
    misses: int = 0
    #: Seconds that searches and reranking would have taken, less the seconds of the lookups.
    saved_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _KnownContexts:
    contexts: Sequence[PrecomputedContext]
    #: (n, dim) float32.
    vectors: NDArray[np.float32]
    read_at: float


class ContextLookup:
    """Implements ``PreparedSearch`` of ``cluster.retrieval``. Use it on one event loop only.

    Args:
        in_database: runs the work that calls the database.
        similarity: least cosine similarity of a live question and a context's question.
    """

    def __init__(self, in_database: RunInDatabase, *, similarity: float) -> None:
        self._in_database = in_database
        self._similarity = similarity
        self._known: OrderedDict[tuple[str, str], _KnownContexts] = OrderedDict()
        self.stats = ContextStats()

    async def __call__(
        self,
        found: Sequence[VersionedStore],
        question: str,
        embedded: Mapping[str, QueryVectors],
        options: RetrievalOptions,
        /,
    ) -> Sequence[RetrievedChunk] | None:
        """Return the chunks of the most similar context for this question; None if no context fits."""
        began = time.monotonic()
        fingerprint = min(embedded)
        key = context_key([one.store.id for one in found], fingerprint, options)
        known = await self._contexts(found[0].store.organisation, key)
        if not known.contexts:
            return None
        versions = versions_of({one.store.id: one.version for one in found})
        context = self._nearest(known, embedded[fingerprint].vectors[0], versions)
        chunks = None if context is None else await self._chunks(found, context, question)
        if context is None or chunks is None:
            self.stats.misses += 1
            return None
        self.stats.hits += 1
        self.stats.saved_s += max(0.0, context.seconds - (time.monotonic() - began))
        return chunks

    async def _contexts(self, organisation: str, key: str) -> _KnownContexts:
        place = organisation, key
        known = self._known.get(place)
        if known is None or time.monotonic() - known.read_at > READ_AGAIN_S:

            def read(pool: ConnectionPool, _: ChunkIndexes) -> list[PrecomputedContext]:
                with translated(), pool.connection() as connection:
                    return contexts_of_key(connection, organisation, key)

            contexts = await self._in_database(read)
            vectors = np.stack([one.vector for one in contexts]) if contexts else np.empty((0, 0), np.float32)
            known = self._known[place] = _KnownContexts(contexts, vectors, time.monotonic())
        self._known.move_to_end(place)
        while len(self._known) > KEPT_KEYS:
            self._known.popitem(last=False)
        return known

    def _nearest(
        self, known: _KnownContexts, vector: NDArray[np.float32], versions: str
    ) -> PrecomputedContext | None:
        similarities = known.vectors @ vector
        for position in map(int, np.argsort(-similarities)):
            context = known.contexts[position]
            if similarities[position] >= self._similarity and context.versions == versions:
                return context
        return None

    async def _chunks(
        self, found: Sequence[VersionedStore], context: PrecomputedContext, question: str
    ) -> Sequence[RetrievedChunk] | None:
        """Read the chunks of the context; None if a chunk no longer exists."""
        stores = {one.store.id: one.store for one in found}

        def read(pool: ConnectionPool, indexes: ChunkIndexes) -> dict[tuple[str, str], ChunkRecord]:
            records: dict[tuple[str, str], ChunkRecord] = {}
            with translated(), pool.connection() as connection:
                for id in {chunk.store for chunk in context.chunks}:
                    store = stores[id]
                    ids = [chunk.id for chunk in context.chunks if chunk.store == id]
                    collection = indexes.of(store).collection(store.collection).name
                    fetched = chunk_store.fetch(
                        connection, store.organisation, id, ids, collection=collection
                    )
                    records |= {(id, chunk): record for chunk, record in fetched.items()}
            return records

        records = await self._in_database(read)
        if any((chunk.store, chunk.id) not in records for chunk in context.chunks):
            return None
        hits = [
            Hit(
                id=chunk.id,
                document=records[chunk.store, chunk.id].document,
                text=records[chunk.store, chunk.id].text,
                attributes=records[chunk.store, chunk.id].attributes,
                score=chunk.score,
                store=chunk.store,
                similarity=chunk.similarity,
            )
            for chunk in context.chunks
        ]
        return chunks_of([(hit, question) for hit in hits])
