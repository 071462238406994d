"""The simulator answers the real client as Pinecone's description says."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pinecone
import pytest
from pinecone import Index, RetryConfig
from pinecone.errors import ApiError, PineconeError, RateLimitError, ServiceError

from tests.conftest import ROOT
from tests.simulators.pinecone.contract import FOLDER
from tests.simulators.pinecone.faults import IndexFault, IndexFaults
from tests.simulators.pinecone.server import PineconeServer, simulator
from tests.simulators.pinecone.traffic import RateCaps

DIM = 4
VERSION = {"X-Pinecone-Api-Version": "2026-04"}


@pytest.fixture
def server() -> Iterator[PineconeServer]:
    if not FOLDER.is_dir():
        pytest.skip(f"Pinecone's description is not at {FOLDER}")
    with simulator(dim=DIM) as server:
        yield server
        assert server.complaints == []


@pytest.fixture
def index(server: PineconeServer) -> Iterator[Index]:
    with opened(server) as index:
        yield index


def opened(server: PineconeServer) -> Index:
    """A client that sends each request once."""
    index = Index(host=server.url, api_key="any", additional_headers=VERSION, timeout=2.0)
    index._http.close()
    index._http = type(index._http)(
        replace(index._config, retry_config=RetryConfig(max_retries=0)), "2026-04"
    )
    return index


def vectors(count: int, **metadata: Any) -> list[dict[str, Any]]:
    rows = np.random.default_rng(0).normal(size=(count, DIM)).astype(np.float32)
    return [
        {"id": f"v{at:04}", "values": row.tolist(), "metadata": {"page": at, **metadata}}
        for at, row in enumerate(rows)
    ]


def test_the_clients_whole_round(server: PineconeServer, index: Index) -> None:
    rows = vectors(250)
    assert index.upsert(vectors=rows, namespace="n").upserted_count == 250
    found = index.query(vector=rows[7]["values"], top_k=3, namespace="n", include_metadata=True)
    assert (found.matches[0].id, found.matches[0].metadata) == ("v0007", {"page": 7.0})
    assert found.matches[0].score == pytest.approx(1)
    assert [match.score for match in found.matches] == sorted((m.score for m in found.matches), reverse=True)
    fetched = index.fetch(ids=["v0003", "none"], namespace="n").vectors
    assert list(fetched) == ["v0003"]
    assert np.array_equal(np.array(fetched["v0003"].values, np.float32), np.float32(rows[3]["values"]))
    index.update(id="v0003", set_metadata={"kind": "a"}, namespace="n")
    assert index.fetch(ids=["v0003"], namespace="n").vectors["v0003"].metadata == {"page": 3.0, "kind": "a"}
    ids, token = [], None
    while True:
        page = index.list_paginated(namespace="n", prefix="v00", limit=30, pagination_token=token)
        ids += [one.id for one in page.vectors]
        if not (token := page.pagination.next if page.pagination else None):
            break
    assert ids == [f"v{at:04}" for at in range(100)]
    index.delete(ids=ids, namespace="n")
    stats = index.describe_index_stats()
    assert (stats.dimension, stats.total_vector_count, stats.metric) == (DIM, 150, "cosine")
    assert index.describe_namespace(name="n").record_count == 150
    index.delete(delete_all=True, namespace="n")
    assert index.query(vector=rows[0]["values"], top_k=3, namespace="n").matches == []


def test_filters_pass_the_records_that_pinecones_pages_name(index: Index) -> None:
    metadata: dict[str, dict[str, Any]] = {
        "a": {"genre": "comedy", "year": 2019},
        "b": {"genre": ["comedy", "drama"], "year": 2020.5},
        "c": {"flag": True, "year": 1},
        "d": {"genre": "2019"},
    }
    index.upsert(
        vectors=[
            {"id": id, "values": [1.0, 0.0, 0.0, 0.0], "metadata": value} for id, value in metadata.items()
        ]
    )
    for filter, expected in (
        ({"genre": "comedy"}, "ab"),
        ({"genre": {"$eq": "drama"}}, "b"),
        ({"genre": {"$ne": "comedy"}}, "d"),
        ({"genre": {"$in": ["drama", "2019"]}}, "bd"),
        ({"genre": {"$nin": ["drama", "2019"]}}, "a"),
        ({"genre": {"$exists": False}}, "c"),
        ({"year": {"$gte": 2019, "$lt": 2020.5}}, "a"),
        ({"year": {"$eq": 1}}, "c"),
        ({"flag": {"$eq": 1}}, ""),
        ({"year": {"$gt": 2019}, "genre": "drama"}, "b"),
        ({"$or": [{"flag": True}, {"$and": [{"genre": "comedy"}, {"year": {"$lte": 2019}}]}]}, "ac"),
    ):
        found = index.query(vector=[1.0, 0.0, 0.0, 0.0], top_k=10, filter=filter)
        assert sorted(match.id for match in found.matches) == list(expected), filter
    for wrong in (
        {"year": {"$gt": "2019"}},
        {"$gt": 1},
        {"genre": {"$like": "c"}},
        {"flag": {"$in": [True]}},
    ):
        with pytest.raises(PineconeError):
            index.query(vector=[1.0, 0.0, 0.0, 0.0], top_k=10, filter=wrong)


@pytest.mark.parametrize(("metric", "best"), [("dotproduct", "long"), ("euclidean", "near")])
def test_each_metric_has_its_own_nearest(metric: str, best: str) -> None:
    with simulator(dim=2, metric=metric) as server, opened(server) as index:
        index.upsert(
            vectors=[{"id": "long", "values": [9.0, 9.0]}, {"id": "near", "values": [1.0, 0.5]}],
            namespace="n",
        )
        matches = index.query(vector=[1.0, 0.0], top_k=2, namespace="n").matches
        assert matches[0].id == best
        if metric == "euclidean":
            assert matches[0].score == pytest.approx(0.25)


@pytest.mark.parametrize(
    "call",
    [
        lambda index: index.upsert(vectors=[{"id": "a" * 513, "values": [1.0] * DIM}]),
        lambda index: index.upsert(vectors=[{"id": "ä", "values": [1.0] * DIM}]),
        lambda index: index.upsert(vectors=[{"id": "a", "values": [1.0]}]),
        lambda index: index.upsert(vectors=[{"id": "a", "values": [0.0] * DIM}]),
        lambda index: index.upsert(vectors=vectors(1, text="x" * 41_000)),
        lambda index: index.upsert(vectors=vectors(1, tags=[1])),
        lambda index: index.upsert(vectors=vectors(1_001)),
        lambda index: index.query(vector=[1.0] * DIM, top_k=10_001),
        lambda index: index.query(vector=[1.0] * DIM, top_k=1_001, include_metadata=True),
        lambda index: index.delete(ids=[str(n) for n in range(1_001)]),
        lambda index: index.delete(ids=["a"], namespace="unknown"),
        lambda index: index.upsert(vectors=vectors(60, text="x" * 39_000)),
    ],
    ids=[
        "long-id",
        "id-not-ascii",
        "dimension",
        "zero",
        "metadata-size",
        "metadata-type",
        "rows",
        "top-k",
        "top-k-with-data",
        "deletes",
        "namespace",
        "bytes",
    ],
)
def test_a_request_beyond_a_limit_is_refused(call: Any) -> None:
    with simulator(dim=DIM) as server, opened(server) as index:
        with pytest.raises(PineconeError):
            call(index)
        assert index.describe_index_stats().total_vector_count == 0


def test_a_write_is_visible_late_and_the_numbers_of_writes_tell_when(
    server: PineconeServer, index: Index
) -> None:
    server.service.storage.delay_s = 0.2
    written = index.upsert(vectors=vectors(1), namespace="n").response_info.lsn_committed
    before = index.query(vector=[1.0] * DIM, top_k=1, namespace="n")
    assert before.matches == []
    assert not before.response_info.is_reconciled(written)
    while not (after := index.query(vector=[1.0] * DIM, top_k=1, namespace="n")).response_info.is_reconciled(
        written
    ):
        time.sleep(0.02)
    assert len(after.matches) == 1


def test_each_fault_does_what_it_says(server: PineconeServer, index: Index) -> None:
    expected: dict[IndexFault, tuple[type[PineconeError], bool]] = {
        IndexFault.BUSY: (RateLimitError, False),
        IndexFault.BUSY_WITH_RETRY_AFTER: (RateLimitError, False),
        IndexFault.UNAVAILABLE: (ServiceError, False),
        IndexFault.APPLIED_500: (ServiceError, True),
        IndexFault.RESET: (PineconeError, False),
        IndexFault.APPLIED_RESET: (PineconeError, True),
        IndexFault.NO_ANSWER: (pinecone.errors.PineconeTimeoutError, True),
    }
    for fault, (kind, applied) in expected.items():
        server.faults = IndexFaults([fault], only={"upsert"})
        with pytest.raises(kind) as raised:
            index.upsert(vectors=vectors(1), namespace=fault, timeout=0.3)
        assert (fault in index.describe_index_stats().namespaces) == applied, fault
        if isinstance(raised.value, ApiError):
            has = "retry-after" in (raised.value.headers or {})
            assert has == (fault == IndexFault.BUSY_WITH_RETRY_AFTER)
    server.faults = IndexFaults([IndexFault.SLOW])
    assert index.upsert(vectors=vectors(1), namespace="slow").upserted_count == 1


def test_requests_beyond_the_limit_of_a_second_are_refused_and_counted() -> None:
    with simulator(dim=DIM, caps=RateCaps(requests=5)) as server, opened(server) as index:
        for _ in range(5):
            index.upsert(vectors=vectors(2), namespace="n")
        index.upsert(vectors=vectors(2), namespace="other")
        assert server.traffic.overruns == []
        with pytest.raises(RateLimitError):
            index.upsert(vectors=vectors(2), namespace="n")
        assert len(server.traffic.overruns) == 1
        assert server.traffic.busiest("upsert") == 6
        assert [one.rows for one in server.traffic.of("upsert")] == [2] * 7
        assert sum(server.traffic.by_second("upsert").values()) == 7


def test_faults_by_chance_are_the_same_for_the_same_seed() -> None:
    chances = {IndexFault.BUSY: 0.2, IndexFault.APPLIED_500: 0.05}
    drawn = [[IndexFaults(chances=chances, seed=1).next("upsert") for _ in range(1)] for _ in range(3)]
    assert drawn[0] == drawn[1] == drawn[2]
    faults = IndexFaults(chances=chances, seed=1)
    total = [faults.next("upsert") for _ in range(2_000)]
    assert 320 < total.count(IndexFault.BUSY) < 480
    assert 60 < total.count(IndexFault.APPLIED_500) < 140


def test_the_command_starts_a_simulator_and_explains_itself() -> None:
    command = [sys.executable, "-m", "tests.simulators.pinecone"]
    shown = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(
        option in shown for option in ("--port", "--dim", "--metric", "--delay", "--fault", "busy=0.2")
    )
    running = subprocess.Popen(
        [*command, "--port", "0", "--dim", "4"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert running.stdout is not None
        host = running.stdout.readline().split(" answers at ")[1].split(". ")[0]
        with Index(host=host, api_key="any", additional_headers=VERSION) as index:
            assert index.describe_index_stats().dimension == 4
    finally:
        running.terminate()
        running.wait()
        if running.stdout is not None:
            running.stdout.close()
