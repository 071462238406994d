"""The usage of requests is recorded exactly, also while the database or the disk is away."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import structlog
from psycopg_pool import ConnectionPool
from starlette.types import Message, Receive, Scope, Send

from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.vector_stores.stores import ensure_store
from cluster.errors import Unavailable
from cluster.keys.known_keys import KnownKeys
from cluster.organisations.caller import Caller, CallerKind, acting_as
from cluster.organisations.organisations import ensure_organisation
from cluster.settings import MIB, Settings
from cluster.usage.events import UsageEvent, UsageSource, record_usage
from serve_app.edge.boundary import Boundary
from serve_app.usage import usage_recorder, usage_sender
from serve_app.usage.usage_recorder import UsageRecorder
from tests.full_disks import small_disk
from tests.serve_app.conftest import MODEL, Server, serving
from tests.waiting import LONGEST_WAIT_S, Stopwatch, until


@pytest.fixture(scope="module")
def own(settings: Settings, pool: ConnectionPool) -> Iterator[Server]:
    """A server of an organisation that no other test uses."""
    with serving(settings.model_copy(update={"organisation": f"used-{uuid4().hex[:8]}"})) as server:
        yield server


def recorded(pool: ConnectionPool, organisation: str) -> dict[tuple[str, str, str, str | None], int]:
    """Sums by source, kind, unit and model."""
    with pool.connection() as connection:
        found = connection.execute(
            "SELECT source, kind, unit, model, sum(quantity)::bigint FROM usage_events WHERE organisation = "
            "%s GROUP BY 1, 2, 3, 4",
            [organisation],
        ).fetchall()
    return {row[:4]: row[4] for row in found}


def assert_soon(found: Callable[[], object], expected: object) -> None:
    """Usage is in the database a second after its request, and later on a busy machine."""
    until(found, lambda now: now == expected, what=f"{expected}")


def test_every_path_that_embeds_records_what_its_answer_says(own: Server, pool: ConnectionPool) -> None:
    with httpx.Client(base_url=own.url, timeout=LONGEST_WAIT_S) as http:
        told = 0
        for _ in range(2):  # the second time from the cache
            answer = http.post(
                "/v1/embeddings",
                json={"model": MODEL, "input": ["Swifts sleep on the wing.", "Herons stand still."]},
            )
            told += answer.json()["usage"]["total_tokens"]
        told += len(own.service.models.default.engine.tokeniser.ids(["a heron"])[0]) + 2
        assert http.post("/embed", json={"inputs": "a heron"}).status_code == 200
        answer = http.post("/v1/rerank", json={"query": "birds", "documents": ["a heron", "a pump"]})
        told += answer.json()["usage"]["total_tokens"]
        service = own.service
        with pool.connection() as connection:
            ensure_organisation(connection, service.settings.organisation)
            store = ensure_store(
                connection,
                service.settings.organisation,
                "used",
                fingerprint=service.models.default.engine.fingerprint,
            )
        open_chunk_index(service.settings, pool).ensure(store.collection, dim=384)
        assert (
            http.post("/v1/vector_stores/used/search", json={"query": "who sleeps on the wing?"}).status_code
            == 200
        )
        assert http.get("/v1/models").status_code == 200
        assert http.get("/v1/files/none").status_code == 404  # a refusal is no usage
    searched = int(own.service.models.default.engine.tokeniser.count(["who sleeps on the wing?"])[0]) + 2
    expected = {
        ("http", "embedding", "tokens", MODEL): told,
        ("http", "request", "requests", MODEL): 4,
        ("search", "embedding", "tokens", MODEL): searched,
        ("search", "request", "requests", MODEL): 1,
        ("http", "request", "requests", None): 1,
    }
    assert_soon(lambda: recorded(pool, service.settings.organisation), expected)


class FailingDatabase:
    """The real database, of which some transactions fail.

    Args:
        failures: the outcomes of the first transactions: an error before the transaction, True for a commit
            that is kept but not confirmed.
    """

    def __init__(self, pool: ConnectionPool, failures: Sequence[Exception | bool] = ()) -> None:
        self._pool, self._failures = pool, list(failures)
        self.calls = 0
        self.away = False

    def write(self, events: Sequence[UsageEvent]) -> None:
        """Record the events, or fail."""
        self.calls += 1
        failure = self._failures.pop(0) if self._failures else False
        if self.away or isinstance(failure, Exception):
            raise failure if isinstance(failure, Exception) else Unavailable("the database does not answer")
        with self._pool.connection() as connection:
            record_usage(connection, events)
        if failure:
            raise Unavailable("the commit was not confirmed")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread works every few milliseconds."""
    monkeypatch.setattr(usage_recorder, "INTERVAL_S", 0.01)
    monkeypatch.setattr(usage_sender, "RETRY_S", 0.02)


@pytest.mark.usefixtures("quick")
def test_10_000_concurrent_requests_are_counted_exactly(
    settings: Settings, pool: ConnectionPool, organisation: str, known_keys: KnownKeys, tmp_path: Path
) -> None:
    """Some requests fail, and the database is lost before and after commits."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    away = Unavailable("the database does not answer")
    database = FailingDatabase(pool, [away, True, away, True, True])
    recorder = UsageRecorder(database.write, tmp_path, max_bytes=MIB)
    answered = {"requests": 0, "tokens": 0}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        number = int(scope["path"].rpartition("/")[2])
        recorder.add(organisation, UsageSource.HTTP, MODEL, tokens=number)
        await asyncio.sleep(0)
        status = (200, 200, 200, 404, 500)[number % 5]
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})
        if status == 200:
            answered["requests"] += 1
            answered["tokens"] += number

    own = settings.model_copy(update={"organisation": organisation})
    boundary = Boundary(app, settings=own, keys=KnownKeys(own, open_database=lambda: None), usage=recorder)

    async def ask(number: int) -> None:
        async def receive() -> Message:
            await asyncio.sleep(60)
            raise AssertionError

        async def send(message: Message) -> None:
            del message

        path = f"/v1/requests/{number}"
        await boundary(
            {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}, receive, send
        )

    async def ask_all() -> None:
        for first in range(0, 10_000, 100):
            await asyncio.gather(*(ask(number) for number in range(first, first + 100)))

    asyncio.run(ask_all())
    recorder.close()
    assert answered == {"requests": 6_000, "tokens": sum(n for n in range(10_000) if n % 5 < 3)}
    assert recorded(pool, organisation) == {
        ("http", "embedding", "tokens", MODEL): answered["tokens"],
        ("http", "request", "requests", MODEL): answered["requests"],
    }


@pytest.mark.usefixtures("quick")
def test_usage_waits_in_small_files_while_the_database_is_away(
    monkeypatch: pytest.MonkeyPatch, pool: ConnectionPool, organisation: str, tmp_path: Path
) -> None:
    monkeypatch.setattr(usage_recorder, "FILE_BYTES", 4096)
    database = FailingDatabase(pool)
    database.away = True
    recorder = UsageRecorder(database.write, tmp_path, max_bytes=MIB)
    for _ in range(1_000):
        recorder.add(organisation, UsageSource.HTTP, MODEL, tokens=3)
        time.sleep(0.0002)
    recorder.close()
    kept = [file for file in tmp_path.rglob("0*") if file.is_file()]
    assert kept
    assert sum(file.stat().st_size for file in kept) < 10_000  # their lines have over 80,000
    assert recorded(pool, organisation) == {}

    database.away = False
    UsageRecorder(database.write, tmp_path, max_bytes=MIB).close()  # the next process
    assert recorded(pool, organisation) == {("http", "embedding", "tokens", MODEL): 3_000}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_a_full_disk_loses_nothing_and_is_reported(
    pool: ConnectionPool, organisation: str, tmp_path: Path
) -> None:
    database = FailingDatabase(pool)
    database.away = True
    with small_disk(tmp_path / "disk", kib=64) as disk:
        recorder = UsageRecorder(database.write, disk.folder, max_bytes=MIB)
        recorder.add(organisation, UsageSource.HTTP, MODEL, tokens=1)
        assert not recorder.stats.only_in_memory
        disk.fill()
        for _ in range(200):
            recorder.add(organisation, UsageSource.HTTP, MODEL, tokens=1)
        assert recorder.stats.only_in_memory
        disk.make_room()
        assert_soon(lambda: recorder.stats.only_in_memory, False)
        recorder.add(organisation, UsageSource.HTTP, MODEL, tokens=1)
        recorder.close()
        database.away = False
        UsageRecorder(database.write, disk.folder, max_bytes=MIB).close()
    assert recorded(pool, organisation) == {("http", "embedding", "tokens", MODEL): 202}


def test_usage_beyond_the_limit_of_the_files_waits_in_memory(
    quick: None, pool: ConnectionPool, organisation: str, tmp_path: Path
) -> None:
    database = FailingDatabase(pool)
    database.away = True
    recorder = UsageRecorder(database.write, tmp_path, max_bytes=2_000)
    for _ in range(200):
        recorder.add(organisation, UsageSource.HTTP, MODEL, tokens=1)
    assert recorder.stats.only_in_memory
    assert sum(file.stat().st_size for file in tmp_path.rglob("0*") if file.is_file()) < 3_000
    database.away = False
    recorder.close()
    assert recorded(pool, organisation) == {("http", "embedding", "tokens", MODEL): 200}


@pytest.mark.usefixtures("quick")
def test_an_event_that_the_database_refuses_holds_up_no_other_event(
    pool: ConnectionPool, organisation: str, tmp_path: Path
) -> None:
    recorder = UsageRecorder(FailingDatabase(pool).write, tmp_path, max_bytes=MIB)
    for owner in ("nowhere", organisation):
        recorder.add(owner, UsageSource.HTTP, MODEL, tokens=5)
    recorder.close()
    assert recorded(pool, organisation) == {("http", "embedding", "tokens", MODEL): 5}
    refused = json.loads((tmp_path / "refused.jsonl").read_text())
    assert (refused["organisation"], refused["quantity"]) == ("nowhere", 5)
    assert recorder.stats.refused_events == 1


def test_usage_is_in_the_database_within_a_second(
    pool: ConnectionPool, organisation: str, tmp_path: Path
) -> None:
    recorder = UsageRecorder(FailingDatabase(pool).write, tmp_path, max_bytes=MIB)
    began = Stopwatch()
    recorder.add(organisation, UsageSource.HTTP, MODEL, tokens=5)
    assert_soon(lambda: len(recorded(pool, organisation)), 1)
    assert began.seconds() < 1.5  # a second, and room for the looks of the test
    recorder.close()


def test_a_client_that_leaves_pays_for_the_work_and_not_for_the_request(
    pool: ConnectionPool, organisation: str, tmp_path: Path
) -> None:
    recorder = UsageRecorder(FailingDatabase(pool).write, tmp_path, max_bytes=MIB)
    with acting_as(Caller(kind=CallerKind.KEY, id="key_1", organisation=organisation)):
        with recorder.of_request() as request:
            recorder.add(organisation, UsageSource.HTTP, MODEL, tokens=5)
            request.abandoned()
        with recorder.of_request() as request:
            recorder.add(organisation, UsageSource.HTTP, MODEL, tokens=7)  # the server fails
    recorder.close()
    assert recorded(pool, organisation) == {("http", "embedding", "tokens", MODEL): 5}
    with pool.connection() as connection:
        keys = connection.execute("SELECT key FROM usage_events WHERE organisation = %s", [organisation])
        assert keys.fetchall() == [("key_1",)]
