"""Workers are killed while they write to an index outside Postgres: every document ends whole, and nothing of
its old version stays.
"""

from collections.abc import Set
from random import Random

import pytest

from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.vector_stores.stores import VectorStore
from tests.fault_rounds import ROUNDS
from tests.faults.accepted_files import Contents, Home, attach, attach_again, await_end, check, documents
from tests.faults.conftest import REQUESTS_PER_SECOND
from tests.faults.external_indexes import InFolder, OnPinecone
from tests.faults.worker_processes import Workers
from tests.simulators.pinecone.faults import IndexFault, IndexFaults
from tests.simulators.pinecone.server import PineconeServer

TEXT = "\n\n".join(f"Valve {number} opens when the pressure is high." for number in range(60)).encode()
SHORT = {"type": "static", "static": {"max_chunk_size_tokens": 20, "chunk_overlap_tokens": 0}}
#: Documents whose parsing takes little time.
QUICK = frozenset(name for name in documents() if not name.startswith("slow"))
#: A fifth of the requests fails, and a twentieth fails although it was carried out.
CHANCES = {
    IndexFault.BUSY: 0.09,
    IndexFault.BUSY_WITH_RETRY_AFTER: 0.01,
    IndexFault.UNAVAILABLE: 0.1,
    IndexFault.APPLIED_500: 0.05,
}


@pytest.mark.parametrize(
    ("outside", "step"),
    [
        pytest.param(InFolder, "upsert", id="folder before its transaction"),
        pytest.param(InFolder, "delete", id="folder before the outbox"),
        pytest.param(OnPinecone, "delete", id="pinecone before the outbox"),
    ],
    indirect=["outside"],
)
def test_a_document_replaced_by_a_worker_that_is_killed_ends_whole(
    home: Home, outside: InFolder | OnPinecone, step: str
) -> None:
    client = home.client()
    store = client.store(index=outside.name)
    index = ChunkIndexes(home.settings, home.pool).of(store)
    file = client.upload("valves.txt", TEXT)
    first = client.ended(client.attach(store, file))
    assert (first.state, first.attempt) == ("succeeded", 1)
    place = (store.organisation, store.id)
    old = {row.id for row in index.scan(*place, collection=store.collection)}
    outside.kill_at(step)
    second = client.ended(client.attach(store, file, chunking_strategy=SHORT))
    assert (second.state, second.attempt) == ("succeeded", 2 if step == "upsert" else 1)
    new = {row.id: row.vector for row in index.scan(*place, collection=store.collection)}
    assert old.isdisjoint(new)
    assert all(vector is not None for vector in new.values())
    hits = index.search(*place, collection=store.collection, vector=next(iter(new.values())), k=100)
    assert {hit.id for hit in hits} == new.keys()
    home.until(outside.at_rest, "the worker to be killed")
    holds_only(home, store, new.keys())


def test_writers_lose_and_double_nothing_while_pinecone_fails_and_workers_are_killed(
    chance: Random, home: Home, workers: Workers, undisturbed: Contents, pinecone: PineconeServer
) -> None:
    outside = OnPinecone(pinecone, workers)
    pinecone.traffic.clear()
    pinecone.faults = IndexFaults(chances=CHANCES, seed=chance.randrange(2**32))
    if ROUNDS > 1:
        outside.kill_at("upsert", chance.randint(2, 6))
    old = attach(home, QUICK, index=outside.name, attributes={"version": 1}, chunking_strategy=SHORT)
    await_end(home, old)
    outside.kill_at("upsert", chance.randint(2, 6))
    new = attach_again(home, old, attributes={"version": 2})
    await_end(home, new)
    counts, most = pinecone.faults.counts, pinecone.traffic.busiest("upsert")
    outside.recover()
    check(home, new, {where: vector for where, vector in undisturbed.items() if where[0] in QUICK})
    assert outside.at_rest()
    for store in {one.store.id: one.store for one in new}.values():
        index, place = ChunkIndexes(home.settings, home.pool).of(store), (store.organisation, store.id)
        chunks = {row.id: row.vector for row in index.scan(*place, collection=store.collection)}
        holds_only(home, store, chunks.keys())
        for version, expected in ((1, set()), (2, set(chunks))):
            question = {"vector": next(iter(chunks.values())), "k": 1_000}
            of_version = {"type": "eq", "key": "version", "value": version}
            hits = index.search(*place, collection=store.collection, filter=of_version, **question)
            assert {hit.id for hit in hits} == expected
    assert counts.total() >= 4
    assert most == REQUESTS_PER_SECOND
    assert pinecone.traffic.overruns == []


def holds_only(home: Home, store: VectorStore, ids: Set[str]) -> None:
    """Check that the store's index holds these vectors and no others, once the outbox is empty."""
    place = (store.organisation, store.id)
    due = "UPDATE vector_outbox SET due_at = now() WHERE organisation = %s AND vector_store = %s RETURNING id"
    home.ask(due, *place)  # as if the lease of the killed worker were over
    indexes = ChunkIndexes(home.settings, home.pool)
    indexes.empty_outbox(limit_s=20)
    assert (
        home.ask("SELECT id FROM vector_outbox WHERE organisation = %s AND vector_store = %s", *place) == []
    )
    index = indexes.of(store)
    assert index.external is not None
    external, collection = index.external, index.collection(store.collection)
    visible = "deletions to be visible"
    home.until(lambda: external.count(*place, collection=collection) == len(ids), visible)
    assert sorted(id for page in external.ids(*place, collection=collection) for id in page) == sorted(ids)
