"""A worker is killed while it writes to an index outside Postgres: the document ends whole, and nothing of
its old version stays.
"""

import pytest

from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.vector_index.collections import Collection
from tests import folder_index
from tests.faults.accepted_files import Home
from tests.faults.worker_processes import Workers

pytestmark = pytest.mark.timeout(120)

TEXT = "\n\n".join(f"Valve {number} opens when the pressure is high." for number in range(60)).encode()
SHORT = {"type": "static", "static": {"max_chunk_size_tokens": 20, "chunk_overlap_tokens": 0}}


@pytest.mark.parametrize("step", ["upsert", "delete"], ids=["before its transaction", "before the outbox"])
def test_a_document_replaced_by_a_worker_that_is_killed_ends_whole(
    home: Home, workers: Workers, step: str
) -> None:
    folder_index.behave(home.settings)
    client = home.client()
    store = client.store(index=folder_index.NAME)
    index = ChunkIndexes(home.settings, home.pool).of(store)
    file = client.upload("valves.txt", TEXT)
    first = client.ended(client.attach(store, file))
    assert (first.state, first.attempt) == ("succeeded", 1)
    place = (store.organisation, store.id)
    old = {row.id for row in index.scan(*place, collection=store.collection)}
    folder_index.behave(home.settings, killed_at=step)
    second = client.ended(client.attach(store, file, chunking_strategy=SHORT))
    assert (second.state, second.attempt) == ("succeeded", 2 if step == "upsert" else 1)
    new = {row.id: row.vector for row in index.scan(*place, collection=store.collection)}
    assert old.isdisjoint(new)
    assert all(vector is not None for vector in new.values())
    hits = index.search(*place, collection=store.collection, vector=next(iter(new.values())), k=100)
    assert {hit.id for hit in hits} == new.keys()
    home.until(lambda: folder_index.at_rest(home.settings), "the worker to be killed")
    due = "UPDATE vector_outbox SET due_at = now() WHERE organisation = %s AND vector_store = %s RETURNING id"
    home.ask(due, *place)  # as if the lease of the killed worker were over
    ChunkIndexes(home.settings, home.pool).empty_outbox(limit_s=10)
    assert index.external is not None
    collection = Collection(name=store.collection, dim=store.fingerprint.dim, metric="cosine")
    assert index.external.count(*place, collection=collection) == len(new)
    assert (
        home.ask("SELECT id FROM vector_outbox WHERE organisation = %s AND vector_store = %s", *place) == []
    )
