"""The usage of requests is recorded by organisation, model and source, even while the database is away."""

from collections.abc import Iterator, Sequence
from uuid import uuid4

import httpx
import pytest
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.vector_stores.stores import ensure_store
from cluster.errors import Unavailable
from cluster.organisations.organisations import ensure_organisation
from cluster.settings import Settings
from cluster.usage.events import UsageEvent, UsageSource
from serve_app.embedding import usage
from serve_app.embedding.usage import UsageRecorder
from tests.serve_app.conftest import MODEL, Server, serving


@pytest.fixture(scope="module")
def own(settings: Settings, pool: ConnectionPool) -> Iterator[Server]:
    """A server of an organisation that no other test uses."""
    with serving(settings.model_copy(update={"organisation": f"used-{uuid4().hex[:8]}"})) as server:
        yield server


def recorded(server: Server, pool: ConnectionPool) -> dict[tuple[str, str, str, str], int]:
    """Sums by source, kind, unit and model, after the server has written its usage."""
    server.service.usage.close()
    server.service.usage = UsageRecorder(server.service._record_usage)
    for model in server.service.models.values():
        model._usage = server.service.usage
    with pool.connection() as connection:
        found = connection.execute(
            "SELECT source, kind, unit, model, sum(quantity)::bigint FROM usage_events WHERE organisation = "
            "%s GROUP BY 1, 2, 3, 4",
            [server.service.settings.organisation],
        ).fetchall()
    return {row[:4]: row[4] for row in found}


def test_every_path_that_embeds_records_what_its_answer_says(own: Server, pool: ConnectionPool) -> None:
    with httpx.Client(base_url=own.url, timeout=60) as http:
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
    searched = int(own.service.models.default.engine.tokeniser.count(["who sleeps on the wing?"])[0]) + 2
    assert recorded(own, pool) == {
        ("http", "embedding", "tokens", MODEL): told,
        ("search", "embedding", "tokens", MODEL): searched,
    }


class Database:
    """A database that refuses the first calls."""

    def __init__(self, away: int, fault: Exception) -> None:
        self.away, self.fault = away, fault
        self.calls: list[list[UsageEvent]] = []

    def write(self, events: Sequence[UsageEvent]) -> None:
        self.calls.append(list(events))
        if len(self.calls) <= self.away:
            raise self.fault


def test_a_database_that_is_away_costs_no_event_and_none_is_written_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(usage, "INTERVAL_S", 0.01)
    monkeypatch.setattr(usage, "RETRY_S", 0.01)
    database = Database(away=3, fault=Unavailable("the database does not answer"))
    recorder = UsageRecorder(database.write)
    recorder.add("acme", UsageSource.HTTP, MODEL, tokens=5)
    while len(database.calls) < 2:
        pass
    recorder.add("acme", UsageSource.HTTP, MODEL, tokens=7)
    while len(database.calls) < 5:
        pass
    recorder.close()
    first, *_ = database.calls[0]
    assert all(call == [first] for call in database.calls[1:4])  # the same id in all attempts
    assert [event.quantity for call in database.calls[3:] for event in call] == [5, 7]


def test_a_stopping_replica_writes_its_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "INTERVAL_S", 60)
    database = Database(away=0, fault=Unavailable("never"))
    recorder = UsageRecorder(database.write)
    for tokens in (1, 2, 3):
        recorder.add("acme", UsageSource.SEARCH, MODEL, tokens=tokens)
    recorder.close()
    assert [
        (event.organisation, event.source, event.quantity) for call in database.calls for event in call
    ] == [("acme", UsageSource.SEARCH, 6)]
