"""Requests to Pinecone are repeated in one place, within a bound, and their errors say what to do.

The server of these tests answers what a test tells it to; ``tests/simulators/pinecone`` knows Pinecone's API.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import uuid4

import numpy as np
import pinecone.errors.exceptions
import pytest
from pinecone.errors.exceptions import PineconeError
from psycopg_pool import ConnectionPool

from cluster.errors import (
    ClusterError,
    Misconfigured,
    NotFound,
    Permanent,
    ProviderUnavailable,
    Retryable,
    Throttled,
)
from cluster.retrying import Backoff
from cluster.settings.indexes import IndexSource
from cluster.vector_index.collections import Collection
from cluster.vector_index.contract import VectorRecord, Written
from cluster.vector_index.pinecone import requests
from cluster.vector_index.pinecone.batches import MAX_BYTES
from cluster.vector_index.pinecone.errors import TRANSLATIONS
from cluster.vector_index.pinecone.index import PineconeIndex
from cluster.vector_index.pinecone.requests import ATTEMPTS, Requests
from tests.keys_in_output import marked_key

KEY = marked_key("pcsk_")
IndexAt = Callable[[str], PineconeIndex]
Upsert = Callable[..., Written]
COLLECTION = Collection(name="c", dim=384, metric="cosine")


@dataclass
class Script:
    """The answers that the server gives, and the requests that it got."""

    #: Status, headers and body of the next answers; the last one is repeated.
    answers: list[tuple[int, dict[str, str], Any]]
    #: The body of each request, in the order of arrival.
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


@contextmanager
def server(
    *answers: tuple[int, dict[str, str], Any], max_bytes: int | None = None
) -> Iterator[tuple[Script, str]]:
    script = Script(answers=list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            script.bodies.append(body)
            script.headers.append({name.lower(): value for name, value in self.headers.items()})
            script.times.append(time.monotonic())
            status, headers, answer = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
            if max_bytes is not None:
                rows = len(json.loads(body)["vectors"])
                status, answer = (413, {}) if len(body) > max_bytes else (200, {"upsertedCount": rows})
            data = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    thread = Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield script, f"http://127.0.0.1:{listening.server_port}"
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINECONE_API_KEY", KEY)
    for name in ("BACKOFF", "URGENT_BACKOFF"):
        monkeypatch.setattr(requests, name, Backoff(first_s=0.01, longest_s=0.05, jitter=True))


@pytest.fixture
def index_at(pool: ConnectionPool) -> IndexAt:
    """``index_at(host)``: an index whose breaker has counted nothing yet."""

    def open_index(host: str) -> PineconeIndex:
        source = IndexSource(kind="pinecone", host=host)
        return PineconeIndex(Requests(f"main-{uuid4().hex[:8]}", source, pool), "main")

    return open_index


def records(count: int) -> list[VectorRecord]:
    vectors = np.random.default_rng(0).normal(size=(count, 384)).astype(np.float32)
    return [
        VectorRecord(id=f"chk_{i:032x}", attributes={"page": i}, vector=vector)
        for i, vector in enumerate(vectors)
    ]


@pytest.fixture
def upsert(index_at: IndexAt) -> Upsert:
    """``upsert(host, 2)``: writes two vectors."""

    def write(host: str, count: int = 1) -> Written:
        return index_at(host).upsert("acme", "vs_1", records(count), collection=COLLECTION)

    return write


def search(index: PineconeIndex) -> None:
    index.search("acme", "vs_1", collection=COLLECTION, vector=records(1)[0].vector, k=3)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 408])
def test_a_request_is_sent_six_times_in_all_and_the_clients_own_retries_are_off(
    upsert: Upsert, status: int
) -> None:
    with server((status, {}, {"message": "busy"})) as (script, host):
        kind = Throttled if status == 429 else ProviderUnavailable
        with pytest.raises(kind, match=r"'main-\w+' on Pinecone.*busy"):
            upsert(host)
        assert len(script.bodies) == ATTEMPTS == 6


def test_a_request_succeeds_after_retries_and_obeys_retry_after(upsert: Upsert) -> None:
    wait = (429, {"Retry-After": "0.3"}, {"message": "slow down"})
    with server(wait, (503, {}, {}), (200, {}, {"upsertedCount": 1})) as (script, host):
        assert upsert(host).written == 1
        assert script.times[1] - script.times[0] >= 0.3
        assert len(script.bodies) == 3
        assert script.headers[0]["x-pinecone-api-version"] == "2026-04"


def test_a_long_pause_is_left_to_the_caller(upsert: Upsert) -> None:
    with server((429, {"Retry-After": "60"}, {})) as (script, host):
        with pytest.raises(Throttled) as raised:
            upsert(host)
        assert (raised.value.retry_after_s, len(script.bodies)) == (60.0, 1)


def test_a_connection_that_nobody_accepts_is_a_provider_that_is_away(upsert: Upsert) -> None:
    with server((200, {}, {})) as (_, host):
        pass
    with pytest.raises(ProviderUnavailable, match=r"'main-\w+' on Pinecone"):
        upsert(host)


@pytest.mark.parametrize(
    ("status", "kind", "advice"),
    [
        (400, Permanent, "bad"),
        (401, Misconfigured, "check the key"),
        (402, Misconfigured, "bills"),
        (403, Misconfigured, "check the key"),
        (404, NotFound, "check the host"),
    ],
)
def test_refusals_are_not_repeated_and_do_not_show_the_key(
    upsert: Upsert, status: int, kind: type[ClusterError], advice: str
) -> None:
    with server((status, {}, {"message": f"bad request with {KEY}"})) as (script, host):
        with pytest.raises(kind, match=advice) as raised:
            upsert(host)
        assert len(script.bodies) == 1
        assert script.headers[0]["api-key"] == KEY
        assert KEY not in str(raised.value)
        assert raised.value.__cause__ is None
        assert raised.value.__context__ is None


def test_a_request_that_is_too_large_is_halved_and_later_requests_are_smaller(index_at: IndexAt) -> None:
    with server((200, {}, {}), max_bytes=600_000) as (script, host):
        index = index_at(host)
        assert index.upsert("acme", "vs_1", records(400), collection=COLLECTION).written == 400
        refused = sum(len(body) > 600_000 for body in script.bodies)
        sent = [json.loads(body) for body in script.bodies if len(body) <= 600_000]
        assert sorted(one["id"] for body in sent for one in body["vectors"]) == [r.id for r in records(400)]
        assert {body["namespace"] for body in sent} == {"acme.vs_1.c"}
        assert index.upsert("acme", "vs_1", records(400), collection=COLLECTION).written == 400
        assert sum(len(body) > 600_000 for body in script.bodies) == refused


def test_a_single_row_that_is_too_large_is_the_only_one_that_fails(index_at: IndexAt) -> None:
    with server((200, {}, {}), max_bytes=20_000) as (_, host):
        rows = records(3)
        rows[1] = VectorRecord(id="large", attributes={"text": "x" * 30_000}, vector=rows[1].vector)
        written = index_at(host).upsert("acme", "vs_1", rows, collection=COLLECTION)
        assert (written.written, list(written.failed)) == (2, ["large"])


def test_an_id_that_is_too_long_for_pinecone_fails_alone_and_is_never_asked_for(index_at: IndexAt) -> None:
    with server((200, {}, {}), max_bytes=MAX_BYTES) as (script, host):
        index, rows = index_at(host), records(2)
        rows[1] = VectorRecord(id="ä" * 86, attributes={}, vector=rows[1].vector)
        written = index.upsert("acme", "vs_1", rows, collection=COLLECTION)
        assert (written.written, list(written.failed)) == (1, ["ä" * 86])
        sent = len(script.bodies)
        index.delete("acme", "vs_1", ["ä" * 86], collection=COLLECTION)
        assert len(script.bodies) == sent


def test_a_request_has_the_bytes_that_were_counted(upsert: Upsert) -> None:
    with server((200, {}, {}), max_bytes=MAX_BYTES) as (script, host):
        assert upsert(host, 1_000).written == 1_000
        sizes = sorted(len(body) for body in script.bodies)  # they are sent at the same time
        assert max(sizes) <= MAX_BYTES
        assert all(size > 0.99 * MAX_BYTES for size in sizes[1:])


def test_an_answer_that_stored_fewer_rows_is_an_error(upsert: Upsert) -> None:
    with (
        server((200, {}, {"upsertedCount": 1})) as (_, host),
        pytest.raises(Retryable, match="stored 1 of 2"),
    ):
        upsert(host, 2)


def test_an_index_without_a_key_says_what_to_set(index_at: IndexAt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PINECONE_API_KEY")
    with pytest.raises(Misconfigured, match="set the environment variable PINECONE_API_KEY"):
        index_at("http://127.0.0.1:9")


def test_every_exception_of_the_package_has_a_meaning() -> None:
    theirs = {
        one
        for one in vars(pinecone.errors.exceptions).values()
        if isinstance(one, type) and issubclass(one, PineconeError)
    }
    assert theirs == set(TRANSLATIONS)


def test_after_repeated_failures_no_process_sends_a_request_for_a_while(pool: ConnectionPool) -> None:
    with server((503, {}, {"message": "busy"})) as (script, host):
        name, source = f"main-{uuid4().hex[:8]}", IndexSource(kind="pinecone", host=host)
        for _ in range(3):
            with pytest.raises(ProviderUnavailable):
                search(PineconeIndex(Requests(name, source, pool), name))
        sent = len(script.bodies)
        assert sent < 3 * ATTEMPTS
        with pytest.raises(ProviderUnavailable, match="no call is sent for now"):
            search(PineconeIndex(Requests(name, source, pool), name))
        assert len(script.bodies) == sent
