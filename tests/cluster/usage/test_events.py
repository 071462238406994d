"""Usage is recorded by one function, for work with a job and without one, and the same work counts once."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg import Connection, Rollback
from psycopg.errors import ForeignKeyViolation

from cluster.jobs.kinds.upkeep_kinds import EXPIRE
from cluster.jobs.queue import submit
from cluster.organisations.caller import Caller, CallerKind, acting_as
from cluster.usage.events import RERANKING, UsageEvent, UsageSource, event_id, record_usage


@pytest.fixture
def event(organisation: str) -> UsageEvent:
    """A request for vectors, which no job did."""
    return UsageEvent(
        organisation=organisation,
        id=event_id("embedding", "work"),
        source=UsageSource.HTTP,
        model="m",
        quantity=12,
    )


def recorded(connection: Connection[Any], organisation: str) -> list[tuple[object, ...]]:
    return connection.execute(
        "SELECT source, kind, unit, model, quantity, job FROM usage_events WHERE organisation = %s",
        [organisation],
    ).fetchall()


@pytest.mark.parametrize("source", UsageSource)
def test_every_source_is_recorded_without_a_job(
    connection: Connection[Any], event: UsageEvent, source: UsageSource
) -> None:
    record_usage(connection, [replace(event, source=source)])
    assert recorded(connection, event.organisation) == [(source, "embedding", "tokens", "m", 12, None)]


def test_the_same_work_counts_once_and_other_work_besides(
    connection: Connection[Any], event: UsageEvent
) -> None:
    other = replace(event, id=event_id(RERANKING, "work"), kind=RERANKING)
    record_usage(connection, [event, event, other])
    record_usage(connection, [replace(event, quantity=99)])
    assert sorted(quantity for *_, quantity, _ in recorded(connection, event.organisation)) == [12, 12]


def test_work_of_a_job_is_that_of_the_key_that_asked_for_the_job(
    connection: Connection[Any], event: UsageEvent
) -> None:
    with acting_as(Caller(kind=CallerKind.KEY, id="key_1", organisation=event.organisation)):
        job = submit(connection, event.organisation, EXPIRE, {})
    own = replace(event, id="use_own", key="key_2", agent="agent_1", at=datetime(2026, 3, 1, tzinfo=UTC))
    record_usage(connection, [replace(event, job=job.id), own, replace(event, id="use_no_job")])
    found = connection.execute(
        "SELECT id, key, agent, at = '2026-03-01Z' FROM usage_events WHERE organisation = %s",
        [event.organisation],
    ).fetchall()
    assert job.key == "key_1"
    assert set(found) == {
        (event.id, "key_1", None, False),
        ("use_own", "key_2", "agent_1", True),
        ("use_no_job", None, None, False),
    }


def test_usage_is_recorded_only_with_the_transaction_of_its_work(
    connection: Connection[Any], event: UsageEvent
) -> None:
    with connection.transaction():
        record_usage(connection, [event])
        raise Rollback
    assert recorded(connection, event.organisation) == []


def test_usage_of_an_organisation_that_does_not_exist_is_refused(
    connection: Connection[Any], event: UsageEvent
) -> None:
    with pytest.raises(ForeignKeyViolation):
        record_usage(connection, [replace(event, organisation="nowhere")])
