"""A worker sends events to endpoints at least once, even if it is killed. A slow endpoint does not delay
other endpoints.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from openai import OpenAI
from psycopg import Connection
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from cluster.database.paging import PageRequest
from cluster.jobs import attempts
from cluster.jobs.kinds import EMBED_BATCH
from cluster.jobs.queue import submit
from cluster.local.environment import settings_variables
from cluster.secrets import Secret, open_cipher
from cluster.settings import Settings
from cluster.webhooks import endpoints
from cluster.webhooks.deliveries import Delivery, DeliveryState, list_deliveries, record_event
from cluster.webhooks.endpoints import NewEndpoint, create_endpoint, get_endpoint
from data_jobs.kinds import deliver_webhooks
from data_jobs.kinds.deliver_webhooks import DeliverWebhooks
from data_jobs.worker.job_attempt import JobAttempt
from tests.cluster.outbound.outside import OutsideHandler, OutsideServer, answering, outside, reaching
from tests.conftest import ROOT, new_organisation
from tests.data_jobs.running_consumer import consuming
from tests.keys_in_output import marked_fernet_key
from tests.waiting import LONGEST_WAIT_S, until

TYPE = "batch.completed"


@pytest.fixture(scope="module")
def receiver() -> Iterator[OutsideServer]:
    with outside() as server:
        yield server


@pytest.fixture(scope="module")
def sending(settings: Settings, receiver: OutsideServer) -> Settings:
    """Settings of a worker that looks for work ten times a second and may reach the receiver."""
    own = reaching(receiver.port)
    changes = {
        "secret_key": SecretStr(marked_fernet_key()),
        "outbound_allow_cidrs": own.outbound_allow_cidrs,
        "outbound_ports": own.outbound_ports,
        "webhook_timeout_s": 60.0,
        "lease_s": 2.0,
    }
    return settings.model_copy(update=changes)


class HookOwner:
    """An organisation with an endpoint."""

    def __init__(
        self, pool: ConnectionPool, connection: Connection[Any], settings: Settings, url: str
    ) -> None:
        self.connection, self.organisation = connection, new_organisation(pool)
        self.cipher = open_cipher(settings.secret_key)
        new = NewEndpoint(url=url, event_types=[TYPE])
        with connection.transaction():
            made, self.secret = create_endpoint(connection, self.cipher, self.organisation, new, limit=1)
        self.endpoint = made.id

    def record(self, count: int = 1) -> list[str]:
        made = [
            record_event(self.connection, self.organisation, TYPE, {"id": f"batch_{number}"})
            for number in range(count)
        ]
        return [id for id in made if id is not None]

    def log(self) -> list[Delivery]:
        page = PageRequest(limit=100)
        return list_deliveries(self.connection, self.organisation, self.endpoint, page).items

    def rotate(self) -> Secret:
        with self.connection.transaction():
            return endpoints.rotate_secret(
                self.connection, self.cipher, self.organisation, self.endpoint, keep_old=True
            )[1]


@pytest.fixture
def owners(connection: Connection[Any]) -> Iterator[list[HookOwner]]:
    """The owners that a test made; their endpoints are deleted after it."""
    made: list[HookOwner] = []
    yield made
    for one in made:
        connection.execute("DELETE FROM webhook_endpoints WHERE id = %s", [one.endpoint])


@pytest.fixture(scope="module")
def worker(sending: Settings, pool: ConnectionPool) -> Iterator[None]:
    """A worker that runs until the last test of this file. The first two tests have workers of their own."""
    with consuming(sending, pool, kinds={"deliver_webhooks": DeliverWebhooks(Any)}):  # type: ignore[arg-type]
        yield


def all_succeeded(log: list[Delivery]) -> bool:
    return bool(log) and {one.state for one in log} == {DeliveryState.SUCCEEDED}


def states_of(connection: Connection[Any], jobs: list[str]) -> set[str]:
    found = connection.execute("SELECT state FROM jobs WHERE id = ANY(%s)", [jobs]).fetchall()
    return {state for (state,) in found}


WORKER = """
import asyncio
from typing import Any
from cluster.settings import Settings
from data_jobs.kinds import deliver_webhooks
from data_jobs.worker.consumer import Consumer
deliver_webhooks.LEASE_MARGIN_S = 0.5
kinds = {"deliver_webhooks": deliver_webhooks.DeliverWebhooks(Any)}
asyncio.run(Consumer(Settings(), kinds=kinds, name="killed").run())
"""


def test_a_worker_that_is_killed_in_mid_delivery_loses_no_event(
    sending: Settings,
    pool: ConnectionPool,
    connection: Connection[Any],
    receiver: OutsideServer,
    owners: list[HookOwner],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deliver_webhooks, "LEASE_MARGIN_S", 0.5)
    arrived, killed, seen = threading.Event(), threading.Event(), list[str]()

    def hang_until_killed(handler: OutsideHandler) -> None:
        seen.append(handler.headers["webhook-id"])
        arrived.set()
        killed.wait(LONGEST_WAIT_S)
        handler.answer(200)

    receiver.answers["/killed"] = hang_until_killed
    owner = HookOwner(pool, connection, sending, receiver.url("/killed"))
    owners.append(owner)
    # Another worker takes the events when the lease is over, which lasts longer than the time limit.
    hurried = sending.model_copy(update={"webhook_timeout_s": 2.0})
    variables = {**os.environ, **settings_variables(hurried)}
    with subprocess.Popen([sys.executable, "-c", WORKER], cwd=ROOT, env=variables) as process:
        events = owner.record(6)
        assert arrived.wait(LONGEST_WAIT_S)
        process.send_signal(signal.SIGKILL)
    killed.set()
    assert not any(one.state == DeliveryState.SUCCEEDED for one in owner.log())

    with consuming(sending, pool, kinds={"deliver_webhooks": DeliverWebhooks(Any)}):  # type: ignore[arg-type]
        log = until(owner.log, all_succeeded)

    assert {one.event for one in log} == set(events) == set(seen)
    assert len(seen) > len(events)


def test_batches_that_hold_every_slot_of_their_class_delay_no_event(
    sending: Settings,
    pool: ConnectionPool,
    connection: Connection[Any],
    receiver: OutsideServer,
    owners: list[HookOwner],
) -> None:
    receiver.answers["/in-time"] = answering(204)
    owner = HookOwner(pool, connection, sending, receiver.url("/in-time"))
    owners.append(owner)
    batches, done = threading.Semaphore(0), threading.Event()

    async def long_batch(attempt: JobAttempt) -> None:
        batches.release()
        await attempt.in_thread(done.wait)
        await attempt.in_transaction(partial(attempts.finish, job=attempt.job, result=None))

    low = sending.worker_slots_low + sending.worker_slots_shared
    with pool.connection() as other:
        jobs = [submit(other, owner.organisation, EMBED_BATCH, {}).id for _ in range(low + 1)]
    kinds = {"deliver_webhooks": DeliverWebhooks(Any), "embed_batch": long_batch}  # type: ignore[arg-type]
    with consuming(sending, pool, kinds=kinds):
        try:
            assert all(batches.acquire(timeout=LONGEST_WAIT_S) for _ in range(low))
            owner.record()
            until(owner.log, all_succeeded)
            assert not batches.acquire(blocking=False)
        finally:
            done.set()
        # The worker of another test would run a job that is left in the queue.
        until(lambda: states_of(connection, jobs), lambda states: states == {"succeeded"})


def test_a_worker_without_the_key_leaves_the_event_and_does_not_blame_the_endpoint(
    sending: Settings,
    pool: ConnectionPool,
    connection: Connection[Any],
    receiver: OutsideServer,
    owners: list[HookOwner],
) -> None:
    receiver.requests.clear()
    owner = HookOwner(pool, connection, sending, receiver.url("/works"))
    owners.append(owner)
    owner.record()
    wrong = sending.model_copy(update={"secret_key": None})

    with consuming(wrong, pool, kinds={"deliver_webhooks": DeliverWebhooks(Any)}):  # type: ignore[arg-type]
        [waits] = until(owner.log, lambda log: log[0].error is not None)

    assert waits.state == DeliveryState.PENDING
    assert waits.error == "the cluster cannot decrypt the secret of the endpoint; ask its operator"
    assert get_endpoint(connection, owner.organisation, owner.endpoint).failures == 0
    assert receiver.requests == []


def test_events_arrive_signed_with_both_secrets_of_a_rotation(
    sending: Settings,
    pool: ConnectionPool,
    connection: Connection[Any],
    receiver: OutsideServer,
    worker: None,
    owners: list[HookOwner],
) -> None:
    receiver.requests.clear()
    receiver.answers["/works"] = answering(204)
    owner = HookOwner(pool, connection, sending, receiver.url("/works"))
    owners.append(owner)
    secrets = [owner.secret, owner.rotate()]
    events = owner.record(20)

    log = until(owner.log, all_succeeded)

    assert {one.event for one in log} == set(events)
    assert {one.response_status for one in log} == {204}
    assert sorted(headers["webhook-id"] for _, _, headers, _ in receiver.requests) == sorted(events)
    with OpenAI(api_key="none needed") as client:
        for _, _, headers, body in receiver.requests:
            for secret in secrets:
                event = client.webhooks.unwrap(body, headers, secret=secret.reveal())
                assert (event.type, event.id) == (TYPE, headers["webhook-id"])


def test_a_slow_endpoint_of_one_organisation_delays_no_other(
    sending: Settings,
    pool: ConnectionPool,
    connection: Connection[Any],
    receiver: OutsideServer,
    worker: None,
    owners: list[HookOwner],
) -> None:
    in_flight, most, lock, released = 0, 0, threading.Lock(), threading.Event()

    def slow(handler: OutsideHandler) -> None:
        nonlocal in_flight, most
        with lock:
            in_flight += 1
            most = max(most, in_flight)
        released.wait(LONGEST_WAIT_S)
        with lock:
            in_flight -= 1
        handler.answer(200)

    receiver.answers |= {"/slow": slow, "/fast": answering(200)}
    slow_one = HookOwner(pool, connection, sending, receiver.url("/slow"))
    fast = HookOwner(pool, connection, sending, receiver.url("/fast"))
    owners += [slow_one, fast]
    slow_one.record(100)
    until(lambda: in_flight)
    fast.record(30)

    try:
        until(fast.log, all_succeeded)
        assert not any(one.state == DeliveryState.SUCCEEDED for one in slow_one.log())
    finally:
        released.set()
    assert most <= 4


def test_an_endpoint_that_answers_410_is_disabled_and_redirects_are_not_followed(
    sending: Settings,
    pool: ConnectionPool,
    connection: Connection[Any],
    receiver: OutsideServer,
    worker: None,
    owners: list[HookOwner],
) -> None:
    receiver.answers |= {"/gone": answering(410), "/moved": answering(308, location="/works")}
    gone, moved = (HookOwner(pool, connection, sending, receiver.url(path)) for path in ("/gone", "/moved"))
    owners += [gone, moved]
    gone.record()
    moved.record()

    disabled = until(
        lambda: get_endpoint(connection, gone.organisation, gone.endpoint),
        lambda found: not found.enabled,
    )
    [waits] = until(moved.log, lambda log: log[0].response_status is not None)

    assert disabled.disabled_reason == "the endpoint answered 410 Gone"
    assert (waits.state, waits.response_status) == (DeliveryState.PENDING, 308)
    assert waits.error == "the endpoint answered 308; redirects are not followed, so change the URL"
