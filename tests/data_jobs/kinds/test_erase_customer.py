"""A customer with many rows is erased by a job, for good. tests/faults kills the worker of the job."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.jobs.jobs import JobState
from cluster.platform_data import erasure
from cluster.platform_data.erasure import TABLES, erase_customer
from cluster.platform_data.ids import row_id
from cluster.platform_data.ingestion import ingest
from cluster.platform_data.read_events import read_events
from cluster.settings import Settings
from cluster.submissions import submit_erasure
from data_jobs.kinds.erase_customer import EraseCustomer
from tests.data_jobs.kinds.test_import_events import ended
from tests.data_jobs.running_consumer import consuming


def story(customer: str, messages: int) -> list[dict[str, Any]]:
    """A customer with one conversation. No message names the customer."""
    common = {"source": "/shop", "time": "2026-03-01T10:00:00Z"}
    talk = {"conversation_id": f"talk of {customer}"}
    started = {"id": customer, "type": "conversation.started", "subject": customer, "data": talk}
    return [{**common, **started}] + [
        {**common, "id": f"{customer} {n}", "type": "message.created", "data": {**talk, "role": "user"}}
        for n in range(messages)
    ]


def sent(pool: ConnectionPool, owner: str, events: list[dict[str, Any]]) -> tuple[int, int]:
    """Numbers of accepted and of refused events."""
    checked, faults = read_events(owner, events)
    assert faults == []
    with pool.connection() as connection:
        ingested = ingest(connection, owner, checked)
    return ingested.accepted, len(ingested.faults)


def rows(connection: Connection[Any], owner: str) -> int:
    counts = [
        connection.execute(f"SELECT count(*) FROM {table} WHERE organisation = %s", [owner]).fetchone()
        for table in TABLES
    ]
    return sum(count[0] for count in counts if count is not None)


def test_an_erasure_ends_with_the_proof_and_refuses_every_event_until_then(
    settings: Settings,
    pool: ConnectionPool,
    connection: Connection[Any],
    organisation: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = story("c", 200)
    assert sent(pool, organisation, events) == (201, 0)
    assert sent(pool, organisation, story("other", 2)) == (3, 0)
    customer = row_id("cust", organisation, "c")
    with connection.transaction():
        assert erase_customer(connection, organisation, customer, max_rows=403 - 1) is None
        job = submit_erasure(connection, organisation, customer)
    with connection.transaction():
        assert erase_customer(connection, organisation, customer) is None
        assert submit_erasure(connection, organisation, customer).id == job.id
    now = [{**events[0], "id": "now", "time": datetime.now(UTC).isoformat()}]
    assert sent(pool, organisation, now) == (0, 1)

    monkeypatch.setattr(erasure, "ROWS_AT_ONCE", 70)
    with consuming(settings, pool, kinds={"erase_customer": EraseCustomer(Any)}):  # type: ignore[arg-type]
        done = ended(pool, organisation, job.id)

    assert (done.state, done.attempt) == (JobState.SUCCEEDED, 1), done.error
    deleted = dict.fromkeys(TABLES, 0) | {"messages": 200, "customer_events": 201}
    deleted |= {"conversations": 1, "customers": 1}
    assert done.result == {
        "customer": customer,
        "deleted_rows": deleted,
        "remaining_rows": dict.fromkeys(TABLES, 0),
    }
    assert rows(connection, organisation) == 7  # of the other customer
    assert sent(pool, organisation, events) == (0, 201)
    later = {**events[0], "time": (datetime.now(UTC) + timedelta(minutes=1)).isoformat()}
    assert sent(pool, organisation, [later]) == (1, 0)


def test_a_customer_with_many_conversations_is_left_to_a_job(
    pool: ConnectionPool,
    connection: Connection[Any],
    organisation: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(erasure, "MAX_CONVERSATIONS", 1)
    for customer, conversations in (("few", ["a"]), ("many", ["b", "c"])):
        for name in conversations:
            (started,) = story(name, 0)
            assert sent(pool, organisation, [{**started, "subject": customer}]) == (1, 0)
        with connection.transaction():
            erased = erase_customer(connection, organisation, row_id("cust", organisation, customer))
        assert (erased is None) == (customer == "many")
