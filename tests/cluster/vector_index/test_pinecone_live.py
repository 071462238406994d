"""The round of a vector store against Pinecone itself, if a key and the host of an index are given.

PINECONE_API_KEY=... PINECONE_TEST_HOST=... make test ARGS="-m live -n0"
"""

import os
from uuid import uuid4

import numpy as np
import pytest
from psycopg_pool import ConnectionPool

from cluster.settings.indexes import IndexSource
from cluster.vector_index.collections import Collection, Metric
from cluster.vector_index.contract import VectorRecord
from cluster.vector_index.filters import parse_filter
from cluster.vector_index.pinecone.index import METRICS, PineconeIndex
from cluster.vector_index.pinecone.limits import Operation, Use
from cluster.vector_index.pinecone.requests import Requests

HOST = os.environ.get("PINECONE_TEST_HOST", "")


@pytest.mark.live
@pytest.mark.skipif(
    not (HOST and os.environ.get("PINECONE_API_KEY")), reason="needs PINECONE_API_KEY and PINECONE_TEST_HOST"
)
def test_vectors_are_written_found_filtered_counted_and_deleted_on_the_live_service(
    pool: ConnectionPool,
) -> None:
    requests = Requests("live", IndexSource(kind="pinecone", host=HOST), pool)
    stats = requests.send(
        lambda client: client.describe_index_stats(), Use(operation=Operation.DESCRIBE, organisation="test")
    )
    metric: Metric = next(ours for ours, theirs in METRICS.items() if theirs == (stats.metric or "cosine"))
    collection = Collection(name="live", dim=stats.dimension or 0, metric=metric)
    index, store = PineconeIndex(requests, "live"), f"vs_{uuid4().hex}"
    index.ensure(collection)
    vectors = np.random.default_rng(0).normal(size=(300, collection.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    records = [
        VectorRecord(id=f"chk_{i:04}", attributes={"page": i} if i % 2 else {}, vector=vector)
        for i, vector in enumerate(vectors)
    ]
    ids = [record.id for record in records]
    key = {"collection": collection}
    try:
        assert index.upsert("test", store, records, **key).written == 300
        index.wait_visible("test", store, ids, **key)
        best = index.search("test", store, vector=vectors[7], k=5, **key)
        assert best[0].id == "chk_0007"
        odd = parse_filter({"type": "gte", "key": "page", "value": 250})
        found = index.search("test", store, vector=vectors[7], k=100, filter=odd, **key)
        assert {one.id for one in found} == {f"chk_{i:04}" for i in range(251, 300, 2)}
        others = parse_filter({"type": "ne", "key": "page", "value": 7})
        found = index.search("test", store, vector=vectors[7], k=300, filter=others, **key)
        assert {one.id for one in found} == {*ids} - {"chk_0007"}
        fetched = index.fetch("test", store, ids, **key)
        assert all(np.array_equal(fetched[record.id], record.vector) for record in records)
        assert [id for page in index.ids("test", store, **key) for id in page] == ids
    finally:
        index.delete_store("test", store, **key)
