"""Store and search vectors in one index of Pinecone, with a namespace for each vector store.

If a request fails for a temporary reason, only this request is repeated (``requests``). Pinecone has no mode
``exact``, so every search of a large namespace is approximate. Searches see a write only after a delay, so
writers wait until searches see the write (``wait_visible``).
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pinecone import Index, QueryResponse
from psycopg_pool import ConnectionPool

from cluster.errors import Conflict, NotFound, ProviderUnavailable
from cluster.settings import Settings
from cluster.vector_index.collections import Collection, Metric
from cluster.vector_index.contract import Capabilities, Mode, ScoredId, VectorRecord, Written
from cluster.vector_index.filters import Filter
from cluster.vector_index.pinecone.batches import MAX_BYTES, UpsertBatch, batches, numbers_of
from cluster.vector_index.pinecone.concurrently import concurrently
from cluster.vector_index.pinecone.errors import RequestTooLarge
from cluster.vector_index.pinecone.ids import LONGEST, chunk_id, pinecone_id
from cluster.vector_index.pinecone.limits import Operation, Use
from cluster.vector_index.pinecone.metadata import filter_of
from cluster.vector_index.pinecone.requests import Requests
from cluster.vector_index.pinecone.visibility import FIRST_PAUSE_S, LONGEST_PAUSE_S, Visibility

#: Pinecone's name for each metric.
METRICS: dict[Metric, str] = {"cosine": "cosine", "dot": "dotproduct", "euclidean": "euclidean"}
#: Number of rows of one write. The rows fill either five requests of 1,000 rows or, if the vectors are long,
#: requests of 2 MB. If they are of 2 MB, at least eleven of twelve requests are full.
ROWS_PER_WRITE = 5_000
#: Maximum number of upserts that one call sends at the same time.
UPSERTS_AT_ONCE = 4
#: Maximum number of ids that a query can ask for.
MAX_TOP_K = 10_000
#: Additional ids that a query asks for, so that equal scores at the end of the ranking are ordered by id.
SPARE_IDS = 16
#: Maximum number of ids in one request to delete. Pinecone accepts 1,000 ids in one request.
IDS_PER_DELETE = 1_000
#: Maximum number of ids in one request to fetch. The number is lower, because the URL of the request holds
#: the ids, and the answer holds vectors.
IDS_PER_FETCH = 100
#: Maximum number of ids in one page of a list.
IDS_PER_PAGE = 100
#: Maximum count of the numbers in the vectors of one answer to a fetch, which are 4 MB of JSON.
NUMBERS_PER_FETCH = 300_000


class PineconeIndex:
    """Implements ``ExternalIndex`` on one index of Pinecone. Safe to call from several threads.

    Args:
        requests: sends the requests to the index.
        name: name of the index in the settings.
    """

    capabilities = Capabilities(transactional=False, rows_per_write=ROWS_PER_WRITE)

    def __init__(self, requests: Requests, name: str) -> None:
        self._requests = requests
        self._name = name
        self._visibility = Visibility(requests)
        self._ensured: set[Collection] = set()
        #: Maximum number of bytes of a request. It is reduced if Pinecone refuses a request as too large.
        self._max_bytes = MAX_BYTES

    def ensure(self, collection: Collection) -> None:
        """Check that the index holds vectors of the collection's length and metric.

        Raises:
            Conflict: the index has another length or another metric.
        """
        if collection in self._ensured:
            return
        use = Use(operation=Operation.DESCRIBE, organisation="")
        found = self._requests.send(lambda client: client.describe_index_stats(), use)
        wanted = METRICS[collection.metric]
        if found.dimension != collection.dim or (found.metric or wanted) != wanted:
            raise Conflict(
                f"the vector index {self._name!r} on Pinecone has the dimension {found.dimension} and the "
                f"metric {found.metric}, but the store's model needs {collection.dim} and {wanted}; choose "
                "another index, or create one"
            )
        self._ensured.add(collection)

    def upsert(
        self, organisation: str, store: str, records: Sequence[VectorRecord], *, collection: Collection
    ) -> Written:
        """Insert or replace vectors.

        Every stored vector counts as written and none as unchanged, because Pinecone does not report which
        vectors it already had.
        """
        failed = {
            record.id: f"its id is longer than {LONGEST} characters, as Pinecone counts them"
            for record in records
            if len(pinecone_id(record.id)) > LONGEST
        }
        storable = [record for record in records if record.id not in failed] if failed else records
        send = partial(self._upsert_batch, organisation, store, collection)
        for refused in concurrently(send, batches(storable, max_bytes=self._max_bytes), UPSERTS_AT_ONCE):
            failed.update(refused)
        return Written(written=len(records) - len(failed), failed=failed)

    def _upsert_batch(
        self, organisation: str, store: str, collection: Collection, batch: UpsertBatch
    ) -> dict[str, str]:
        """Send one request. If Pinecone refuses the request as too large, send the vectors in two requests.

        Return the reason for each vector that was not stored, by the id of its chunk.
        """
        use = _use(Operation.UPSERT, organisation, store, collection, bytes=batch.bytes)
        try:
            answer = self._requests.send(
                lambda client: client.upsert(vectors=batch.vectors, namespace=use.namespace), use
            )
        except RequestTooLarge as exc:
            if len(batch.vectors) == 1:
                return {chunk_id(batch.ids[0]): str(exc)}
            self._max_bytes = min(self._max_bytes, max(batch.bytes // 2, 1))
            first, second = (
                self._upsert_batch(organisation, store, collection, half) for half in batch.halves()
            )
            return {**first, **second}
        failed = {chunk_id(item["id"]): "Pinecone did not store it" for item in answer.failed_items}
        if answer.upserted_count + len(failed) != len(batch.vectors):
            raise ProviderUnavailable(
                f"the vector index {self._name!r} on Pinecone says that it stored {answer.upserted_count} of "
                f"{len(batch.vectors)} vectors; writing them again changes nothing"
            )
        self._visibility.wrote(use.namespace, answer.response_info)
        return failed

    def set_attributes(
        self,
        organisation: str,
        store: str,
        attributes: Mapping[str, Mapping[str, Any]],
        *,
        collection: Collection,
    ) -> Written:
        """Replace the attributes of stored vectors.

        Pinecone's update changes one vector in each request and cannot remove an attribute, so the vectors
        are read and written again. Callers lock the ids until this method returns (``outbox``).
        """
        found = self.fetch(organisation, store, list(attributes), collection=collection)
        records = [
            VectorRecord(id=id, attributes=attributes[id], vector=vector) for id, vector in found.items()
        ]
        written = self.upsert(organisation, store, records, collection=collection)
        return Written(
            written=written.written, unchanged=len(attributes) - len(records), failed=written.failed
        )

    def delete(self, organisation: str, store: str, ids: Sequence[str], *, collection: Collection) -> None:
        """Delete vectors by id."""
        for part in _parts(ids, IDS_PER_DELETE):
            self._delete(_use(Operation.DELETE, organisation, store, collection, deleted=len(part)), ids=part)

    def delete_store(self, organisation: str, store: str, *, collection: Collection) -> None:
        """Delete every vector of the store."""
        self._delete(_use(Operation.DELETE, organisation, store, collection), delete_all=True)

    def _delete(self, use: Use, **which: Any) -> None:
        try:
            self._requests.send(lambda client: client.delete(namespace=use.namespace, **which), use)
        except NotFound:
            return  # Pinecone has no such namespace, so there are no vectors to delete

    def search(
        self,
        organisation: str,
        store: str,
        *,
        collection: Collection,
        vector: NDArray[np.float32],
        k: int,
        filter: Filter | None = None,
        mode: Mode = "ann",
    ) -> list[ScoredId]:
        """Return the ids and scores of the store's k nearest vectors, best first.

        Some vectors may not pass the filter, because Pinecone cannot compare all attributes (``metadata``).
        """
        del mode
        numbers, theirs = numbers_of(vector), None if filter is None else filter_of(filter)
        use = _use(Operation.QUERY, organisation, store, collection, urgent=True)
        asked = min(k + SPARE_IDS, MAX_TOP_K)
        while True:
            answer = self._query(use, vector=numbers, filter=theirs, top_k=asked)
            found = [
                ScoredId(id=chunk_id(match.id), score=_similarity(match.score, collection.metric))
                for match in answer.matches
            ]
            found.sort(key=lambda one: (-one.score, one.id))
            # If the k-th score equals the last score of the answer, Pinecone may have left out vectors with
            # this score and lower ids, so ask for more.
            complete = len(found) < asked or found[k - 1].score > found[-1].score
            if complete or asked == MAX_TOP_K:
                return found[:k]
            asked = min(4 * asked, MAX_TOP_K)

    def _query(self, use: Use, **query: Any) -> QueryResponse:
        return self._requests.send(lambda client: client.query(namespace=use.namespace, **query), use)

    def fetch(
        self, organisation: str, store: str, ids: Sequence[str], *, collection: Collection
    ) -> dict[str, NDArray[np.float32]]:
        """Return the stored vectors with these ids, by id. An id that is not stored is left out."""
        use = _use(Operation.FETCH, organisation, store, collection)
        found: dict[str, NDArray[np.float32]] = {}
        for part in _parts(ids, max(1, min(IDS_PER_FETCH, NUMBERS_PER_FETCH // collection.dim))):
            answer = self._requests.send(partial(Index.fetch, ids=part, namespace=use.namespace), use)
            found.update(
                (chunk_id(id), np.array(one.values, np.float32)) for id, one in answer.vectors.items()
            )
        return found

    def ids(self, organisation: str, store: str, *, collection: Collection) -> Iterator[list[str]]:
        """Yield the ids of all vectors of the store, a page at a time."""
        use, token = _use(Operation.LIST, organisation, store, collection), None
        while True:
            ask = partial(
                Index.list_paginated, namespace=use.namespace, limit=IDS_PER_PAGE, pagination_token=token
            )
            page = self._requests.send(ask, use)
            if page.vectors:
                yield [chunk_id(one.id or "") for one in page.vectors]
            token = page.pagination.next if page.pagination else None
            if not token:
                return

    def count(self, organisation: str, store: str, *, collection: Collection) -> int:
        """Return the number of vectors in the store. A new vector is counted only after a delay."""
        use = _use(Operation.DESCRIBE, organisation, store, collection)
        try:
            found = self._requests.send(lambda client: client.describe_namespace(name=use.namespace), use)
        except NotFound:
            return 0
        return int(found.record_count)

    def wait_visible(
        self,
        organisation: str,
        store: str,
        ids: Sequence[str],
        *,
        collection: Collection,
        timeout_s: float = 60.0,
    ) -> None:
        """Wait until searches see these vectors.

        If Pinecone's answers do not show which writes a search sees, wait until fetches return the vectors.

        Raises:
            ProviderUnavailable: some of the vectors are not visible within the timeout.
        """
        deadline = time.monotonic() + timeout_s
        use = _use(Operation.QUERY, organisation, store, collection)
        if self._visibility.searches_see_writes(use, collection, deadline):
            return
        missing, pause_s = list(ids), FIRST_PAUSE_S
        while missing:
            seen = self.fetch(organisation, store, missing, collection=collection)
            missing = [id for id in missing if id not in seen]
            if not missing:
                return
            if time.monotonic() > deadline:
                raise ProviderUnavailable(
                    f"{len(missing)} vectors are not visible in the vector index {self._name!r} on Pinecone "
                    f"after {timeout_s:g} s, for example {missing[0]}; writing them again is safe"
                )
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def optimise(self, collection: Collection) -> None:
        """Do nothing, because Pinecone builds its indexes by itself."""


def open_pinecone(settings: Settings, pool: ConnectionPool, name: str) -> PineconeIndex:
    """Open the index with this name in ``CLUSTER_INDEXES``. This sends no request to Pinecone.

    Raises:
        Misconfigured: the environment has no key for the index, or the version of ``pinecone`` is not
            supported.
    """
    return PineconeIndex(Requests(name, settings.index_sources[name], pool), name)


def namespace_of(organisation: str, store: str, collection: Collection) -> str:
    """Return the name of the namespace for a store with vectors of one model.

    The three parts of the name contain no dots, so different parts never give the same name.
    """
    return f"{organisation}.{store}.{collection.name}"


def _use(operation: Operation, organisation: str, store: str, collection: Collection, **more: Any) -> Use:
    namespace = namespace_of(organisation, store, collection)
    return Use(operation=operation, organisation=organisation, namespace=namespace, **more)


def _similarity(score: float, metric: Metric) -> float:
    """Convert Pinecone's score into a similarity. For ``euclidean``, the score is the squared distance."""
    return -float(np.sqrt(max(score, 0.0))) if metric == "euclidean" else score


def _parts(ids: Sequence[str], size: int) -> Iterator[list[str]]:
    """Convert the ids to ids on Pinecone, and yield these in lists of at most ``size`` ids.

    Ids that are too long for Pinecone are left out, because Pinecone cannot store vectors with such ids.
    """
    stored = [id for id in map(pinecone_id, ids) if len(id) <= LONGEST]
    for start in range(0, len(stored), size):
        yield stored[start : start + size]
