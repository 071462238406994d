"""``--provider-batch`` works without Ray, with the simulator over TCP, real Postgres, and real processes that
are killed.
"""

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.doctor.ailment import Patient
from cluster.doctor.provider_batch_ailments import PROVIDER_BATCHES
from cluster.documents.provider_batches import provider_batches as records
from cluster.documents.provider_batches.provider_batches import BatchInput
from cluster.documents.vector_stores.stores import VectorStore, ensure_store, get_store
from cluster.engines import Registry, describe
from cluster.engines.openai import batch_api
from cluster.errors import InvalidInput, Misconfigured
from cluster.retrying import Backoff
from cluster.settings import Settings
from data_jobs.bulk import batch_exchange
from data_jobs.bulk import provider_batches as loop
from data_jobs.bulk.provider_batches import provider_batches
from data_jobs.bulk.report import IngestReport
from tests.cluster.engines.openai.remote_models import KEY, KEY_ENV, remote_settings
from tests.conftest import ROOT
from tests.simulators.openai import Fault, Provider, Server, simulator, vector_of
from tests.simulators.openai.batches import BatchService, Ending
from tests.simulators.openai.faults import Faults
from tests.simulators.openai.provider import Refused
from tests.waiting import LONGEST_WAIT_S

MODEL = "remote"
TEXTS = [f"Heron number {number} stands still." for number in range(8)]
PRICE = 0.02


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the operator's key, and make the waits short."""
    monkeypatch.setenv(KEY_ENV, KEY)
    monkeypatch.setattr(batch_api, "BACKOFF", Backoff(first_s=0.01, longest_s=0.02, jitter=True))
    monkeypatch.setattr(loop, "FIRST_POLL_S", 0.01)
    monkeypatch.setattr(loop, "LONGEST_POLL_S", 0.02)


@pytest.fixture
def server() -> Iterator[Server]:
    """A simulator with the Batch API."""
    with simulator(Provider(keys={KEY}), batches=True) as server:
        yield server
        assert server.provider.complaints == []


def service(server: Server) -> BatchService:
    """The Batch API of the simulator."""
    assert server.batch_api is not None
    return server.batch_api


def at(settings: Settings, server: Server, **options: Any) -> Settings:
    """The settings with a model at the simulator."""
    return remote_settings(settings, server.url, name=MODEL, price_per_million_tokens=PRICE, **options)


def store_with_inputs(settings: Settings, connection: Connection[Any], organisation: str) -> VectorStore:
    """A new store, in which each of two documents waits for the vectors of half of the texts."""
    fingerprint = describe(Registry(settings).entries[MODEL])
    store = ensure_store(connection, organisation, f"store-{uuid4().hex}", fingerprint=fingerprint)
    for document in ("doc_0", "doc_1"):
        inputs = [
            BatchInput(id=chunk_of(text), text=text, tokens=8) for text in TEXTS[int(document[-1]) :: 2]
        ]
        records.ask(connection, store, document, inputs)
    return store


def chunk_of(text: str) -> str:
    """The id of the text's chunk."""
    return f"chk_{TEXTS.index(text):032}"


def exchange(settings: Settings, pool: ConnectionPool, store: VectorStore) -> IngestReport:
    """Submit the waiting inputs, and collect all answers."""
    report = IngestReport()
    with provider_batches(settings, pool, store, report) as batches:
        assert list(batches.results([], lambda _: [])) == []
    return report


def assert_embedded_once(
    connection: Connection[Any], server: Server, store: VectorStore, *, except_for: str = ""
) -> None:
    """Check that every text has its vector, was billed once, and has one record of its usage, at half the
    price.
    """
    found = {**records.answers(connection, store, "doc_0"), **records.answers(connection, store, "doc_1")}
    texts = [text for text in TEXTS if text != except_for]
    for text in texts:
        np.testing.assert_allclose(found[chunk_of(text)].vector, vector_of(text, 1_536), atol=1e-6)
    assert service(server).billed == Counter(texts)
    rows = connection.execute(
        "SELECT sum(quantity), sum(cost) FROM usage_events WHERE organisation = %s"
        " AND kind = 'provider_embedding' AND source = 'provider' AND model = %s",
        [store.organisation, MODEL],
    ).fetchone()
    tokens = service(server).billed_tokens
    assert rows == (tokens, Decimal(str(PRICE)) * Decimal("0.5") * tokens / 1_000_000)
    assert records.open_batches(connection, store) == []
    assert service(server).files == {}  # no text stays at the provider


def test_a_batch_is_submitted_collected_and_costs_half(
    settings: Settings, pool: ConnectionPool, connection: Connection[Any], organisation: str, server: Server
) -> None:
    settings = at(settings, server)
    store = store_with_inputs(settings, connection, organisation)
    exchange(settings, pool, store)
    assert_embedded_once(connection, server, store)
    (batch,) = service(server).batches.values()
    (ours,) = connection.execute("SELECT id FROM provider_batches WHERE vector_store = %s", [store.id])
    assert batch["metadata"] == {batch_api.METADATA: ours[0]}
    records.forget(connection, store, ["doc_0", "doc_1"])
    assert records.asking_documents(connection, store) == set()


def run_in_process(settings: Settings, organisation: str, store: str, environment: dict[str, str]) -> None:
    """Do the same as ``exchange``, in a process that can be killed."""
    os.environ.update(environment)  # an earlier test may have started the server that forks the process
    loop.FIRST_POLL_S = 0.01
    pool = open_pool(settings, access=OWNER)
    with pool.connection() as connection:
        found = get_store(connection, organisation, store)
    exchange(settings, pool, found)


#: When processes are killed: before a request is applied (1), or after it is applied and before its answer
#: (2).
DEATHS = [
    ("POST /v1/files", 1),
    ("POST /v1/files", 2),
    ("POST /v1/batches", 1),
    ("POST /v1/batches", 2),
    ("GET /v1/batches/", 2),
    ("/content", 2),
]


def killer(process: Any, request: str, moment: int) -> Callable[[str], None]:
    """Return a function that kills the process at this moment of the request. A request that was not applied
    is never applied later.
    """
    seen = count(1)

    def kill(name: str) -> None:
        if request in name and next(seen) == moment:
            os.kill(process.pid, signal.SIGKILL)
            if moment == 1:
                raise Refused(500, "nobody reads this", type="server_error", code=None)

    return kill


def test_a_process_killed_at_any_request_pays_nothing_twice(
    settings: Settings,
    pool: ConnectionPool,
    connection: Connection[Any],
    organisation: str,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = at(settings, server)
    store = store_with_inputs(settings, connection, organisation)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    for death in [*DEATHS, None]:
        arguments = (settings, organisation, store.id, dict(os.environ))
        process = processes.Process(target=run_in_process, args=arguments)
        server.observe = killer(process, *death) if death else lambda _: None
        process.start()
        process.join(LONGEST_WAIT_S)
        assert process.exitcode == (-signal.SIGKILL if death else 0), death
    assert_embedded_once(connection, server, store)
    assert len(service(server).batches) == 1


def test_lost_answers_and_a_busy_provider_cost_nothing(
    settings: Settings, pool: ConnectionPool, connection: Connection[Any], organisation: str, server: Server
) -> None:
    settings = at(settings, server)
    store = store_with_inputs(settings, connection, organisation)
    # The answer to ``batches.create`` is lost. Before it come ``require`` and ``files.create``.
    server.faults = Faults([None, Fault.BUSY, Fault.LOST, None, Fault.LOST, Fault.UNAVAILABLE])
    exchange(settings, pool, store)
    assert len(service(server).batches) == 1
    store = store_with_inputs(settings, connection, organisation)
    service(server).billed.clear()
    chances = {Fault.BUSY_WITH_MILLISECONDS: 0.1, Fault.UNAVAILABLE: 0.1, Fault.LOST: 0.1, Fault.RESET: 0.1}
    server.faults = Faults(chances=chances, seed=3)
    exchange(settings, pool, store)
    assert service(server).billed == Counter(TEXTS)


@pytest.mark.parametrize("status", ["completed", "expired", "cancelled"])
def test_a_batch_that_ends_early_is_followed_by_one_with_what_is_missing(
    settings: Settings,
    pool: ConnectionPool,
    connection: Connection[Any],
    organisation: str,
    server: Server,
    status: str,
) -> None:
    settings = at(settings, server)
    store = store_with_inputs(settings, connection, organisation)
    at_provider = service(server)
    at_provider.endings.append(Ending(status, done=0.5))
    at_provider.unlucky.update([TEXTS[0], TEXTS[1]])
    at_provider.refused.add(TEXTS[2])
    exchange(settings, pool, store)
    assert_embedded_once(connection, server, store, except_for=TEXTS[2])
    error = records.answers(connection, store, "doc_0")[chunk_of(TEXTS[2])].error
    assert error == "127.0.0.1 refuses the input with HTTP 400 (The input is refused.)"
    sizes = [batch["request_counts"]["total"] for batch in at_provider.batches.values()]
    assert sizes[0] == 8
    assert 2 <= sizes[1] < 8


def test_an_input_that_never_succeeds_gets_an_error_after_five_batches(
    settings: Settings, pool: ConnectionPool, connection: Connection[Any], organisation: str, server: Server
) -> None:
    settings = at(settings, server)
    store = store_with_inputs(settings, connection, organisation)
    service(server).unlucky[TEXTS[0]] = 1_000
    exchange(settings, pool, store)
    assert len(service(server).batches) == 5
    assert records.answers(connection, store, "doc_0")[chunk_of(TEXTS[0])].error == records.GIVEN_UP


def test_batches_keep_the_limits_of_the_provider(
    settings: Settings,
    pool: ConnectionPool,
    connection: Connection[Any],
    organisation: str,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = at(settings, server)
    line = len(batch_exchange.BatchApi.line(bare_api(), chunk_of(TEXTS[0]), TEXTS[0]))
    for name, value, sizes in [("MAX_INPUTS", 3, [3, 3, 2]), ("MAX_BYTES", 5 * line, [5, 3])]:
        store = store_with_inputs(settings, connection, organisation)
        service(server).batches.clear()
        with monkeypatch.context() as patch:
            patch.setattr(batch_exchange, name, value)
            exchange(settings, pool, store)
        found = [batch["request_counts"]["total"] for batch in service(server).batches.values()]
        assert found == sizes


def bare_api() -> batch_api.BatchApi:
    """Return an object that can only write lines."""
    api = object.__new__(batch_api.BatchApi)
    api._source, api._options = "text-embedding-3-small", {}
    return api


def test_the_tokens_in_unfinished_batches_stay_below_the_accounts_limit(
    settings: Settings, pool: ConnectionPool, connection: Connection[Any], organisation: str, server: Server
) -> None:
    settings = at(settings, server, batch_queue_tokens=16_384)
    store = store_with_inputs(settings, connection, organisation)
    connection.execute("UPDATE provider_batch_inputs SET tokens = 4000 WHERE vector_store = %s", [store.id])
    most = 0

    def count(_: str) -> None:
        nonlocal most
        with pool.connection() as own:
            most = max(most, len(records.open_batches(own, store)))

    server.observe = count
    exchange(settings, pool, store)
    assert [batch["request_counts"]["total"] for batch in service(server).batches.values()] == [2, 2, 2, 2]
    assert most == 2
    # The provider's queue may still be full, because of other programs with the same account.
    store = store_with_inputs(settings, connection, organisation)
    service(server).endings.append(Ending("failed", code="token_limit_exceeded"))
    with pytest.raises(Misconfigured, match="set batch_queue_tokens of remote"):
        exchange(settings, pool, store)
    service(server).billed.clear()
    exchange(settings, pool, store)
    assert service(server).billed == Counter(TEXTS)


def test_a_refused_batch_ends_the_run_with_the_providers_reason(
    settings: Settings, pool: ConnectionPool, connection: Connection[Any], organisation: str, server: Server
) -> None:
    settings = at(settings, server)
    store = store_with_inputs(settings, connection, organisation)
    service(server).endings.append(Ending("failed"))
    with pytest.raises(Misconfigured, match=r"refuses the batch batch_\d+ \(The batch is refused"):
        exchange(settings, pool, store)
    assert records.waiting_inputs(connection, store) == len(TEXTS)


def test_a_key_that_is_refused_is_named_and_never_shown(
    settings: Settings, pool: ConnectionPool, connection: Connection[Any], organisation: str, server: Server
) -> None:
    settings = at(settings, server)
    store = store_with_inputs(settings, connection, organisation)

    def withdraw(request: str) -> None:
        if request.startswith("GET /v1/batches/"):
            server.provider.keys = {"another"}

    server.observe = withdraw
    said = rf"refuses the key in {KEY_ENV} with HTTP 401 .*; set a valid key"
    with pytest.raises(Misconfigured, match=said) as raised:
        exchange(settings, pool, store)
    error: BaseException | None = raised.value
    while error is not None:
        assert KEY not in f"{error!r} {error} {vars(error)}"
        error = error.__cause__ or error.__context__
    server.provider.keys, server.observe = {KEY}, lambda _: None
    exchange(settings, pool, store)
    assert_embedded_once(connection, server, store)


def test_an_interrupted_run_says_what_remains_at_the_provider(
    settings: Settings,
    pool: ConnectionPool,
    connection: Connection[Any],
    organisation: str,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = at(settings, server)
    store = store_with_inputs(settings, connection, organisation)
    service(server).looks = 1_000_000
    shown = list[str]()
    report = IngestReport(_show=shown.append)

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt), provider_batches(settings, pool, store, report) as batches:
        list(batches.results([], lambda _: []))
    (id,) = service(server).batches
    said = f"127.0.0.1 continues the work on 1 batch with 8 inputs ({id}). The same command collects"
    assert report.remaining.startswith(said)
    assert shown == ["0 of 8 inputs done in 1 batch at 127.0.0.1 (validating); 0 inputs not submitted"]
    # If nobody continues the run, the doctor finds the batch. The account of another key does not have the
    # batch.
    connection.execute(
        "UPDATE provider_batches SET created_at = now() - interval '47 hours' WHERE vector_store = %s",
        [store.id],
    )
    patient = Patient(settings=settings, pool=pool)
    assert store.id not in {case.id for case in PROVIDER_BATCHES.find(patient)}
    connection.execute(
        "UPDATE provider_batches SET created_at = now() - interval '49 hours' WHERE vector_store = %s",
        [store.id],
    )
    labels = [case.label for case in PROVIDER_BATCHES.find(patient)]
    assert f"{organisation}/{store.id} (batch {id}, 8 inputs)" in labels
    connection.execute(
        "UPDATE provider_batches SET provider_id = 'other', created_at = now() WHERE vector_store = %s",
        [store.id],
    )
    with pytest.raises(Misconfigured, match=r"the batch other is not found at 127\.0\.0\.1"):
        exchange(settings, pool, store)


def test_a_server_or_a_model_without_a_batch_api_is_refused(
    settings: Settings, pool: ConnectionPool, connection: Connection[Any], organisation: str
) -> None:
    with simulator(Provider(keys={KEY})) as server:
        settings = at(settings, server)
        store = store_with_inputs(settings, connection, organisation)
        with pytest.raises(Misconfigured, match=r"127.0.0.1 has no Batch API .*leave out --provider-batch"):
            exchange(settings, pool, store)
        local = ensure_store(
            connection, organisation, "local", fingerprint=describe(Registry(settings).default)
        )
        with pytest.raises(InvalidInput, match="kind openai, and all-MiniLM-L6-v2 is of the kind local"):
            exchange(settings, pool, local)
