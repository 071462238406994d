"""Deliveries are attempted until a deadline, fairly between organisations, and their log stays bounded."""

from typing import Any
from uuid import uuid4

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database.paging import FIRST_PAGE
from cluster.errors import Conflict
from cluster.jobs.kinds.job_kind import JobKind
from cluster.jobs.queue import submit
from cluster.settings import Settings
from cluster.webhooks import outbox
from cluster.webhooks.deliveries import DeliveryState, get_delivery, list_deliveries, record_event, redeliver
from cluster.webhooks.endpoints import EndpointChanges, change_endpoint, get_endpoint
from cluster.webhooks.outbox import AttemptResult, ClaimedDelivery, end_attempt, has_work
from tests.cluster.webhooks.conftest import NewEndpointId
from tests.conftest import new_organisation

SETTINGS = Settings()
WORKS, FAILS = AttemptResult(status=200), AttemptResult(status=500, error="the endpoint answered 500")


def record(connection: Connection[Any], organisation: str, count: int = 1) -> list[str]:
    made = [
        record_event(connection, organisation, "job.failed", {"id": f"job_{number}"})
        for number in range(count)
    ]
    return [id for id in made if id is not None]


def claim(
    connection: Connection[Any], *owners: str, holder: str = "h", limit: int = 999, lease_s: float = 60
):
    """Claim deliveries, and return those of these organisations, in the order of the claim."""
    with connection.transaction():
        claimed = outbox.claim(connection, holder, limit=limit, lease_s=lease_s)
    return [one for one in claimed if one.organisation in owners]


def end(connection: Connection[Any], claimed: ClaimedDelivery, result: AttemptResult, **settings: Any) -> Any:
    changed = SETTINGS.model_copy(update=settings)
    with connection.transaction():
        return end_attempt(connection, claimed, "h", result, settings=changed)


def make_due(connection: Connection[Any], organisation: str) -> None:
    connection.execute(
        "UPDATE webhook_deliveries SET due_at = now() WHERE organisation = %s AND state = 'pending'",
        [organisation],
    )


def test_a_delivery_is_attempted_until_the_endpoint_takes_it(
    connection: Connection[Any], organisation: str, new_endpoint: NewEndpointId
) -> None:
    endpoint = new_endpoint()
    (event,) = record(connection, organisation)

    [first] = claim(connection, organisation)
    assert (first.event, first.attempt, first.type, first.data) == (event, 1, "job.failed", {"id": "job_0"})
    assert claim(connection, organisation) == []
    assert end(connection, first, FAILS) == DeliveryState.PENDING
    waiting = get_delivery(connection, organisation, endpoint, event)
    assert waiting.next_attempt_at is not None
    assert (waiting.attempts, waiting.response_status, waiting.error) == (1, 500, FAILS.error)
    assert get_endpoint(connection, organisation, endpoint).failures == 1
    make_due(connection, organisation)
    [second] = claim(connection, organisation)
    assert end(connection, second, WORKS) == DeliveryState.SUCCEEDED

    done = get_delivery(connection, organisation, endpoint, event)
    assert (done.attempts, done.response_status, done.error, done.next_attempt_at) == (2, 200, None, None)
    assert get_endpoint(connection, organisation, endpoint).failing_since is None
    make_due(connection, organisation)
    assert claim(connection, organisation) == []


def test_a_claim_whose_process_died_is_due_again_and_its_end_counts_no_more(
    connection: Connection[Any], organisation: str, new_endpoint: NewEndpointId
) -> None:
    new_endpoint()
    (event,) = record(connection, organisation)
    [lost] = claim(connection, organisation, holder="dead", lease_s=0)

    [again] = claim(connection, organisation)
    assert (again.event, again.attempt) == (event, 2)
    with connection.transaction():
        assert end_attempt(connection, lost, "dead", WORKS, settings=SETTINGS) is None
    assert end(connection, again, WORKS) == DeliveryState.SUCCEEDED


def test_the_last_attempt_is_the_last_before_the_deadline(
    connection: Connection[Any], organisation: str, new_endpoint: NewEndpointId
) -> None:
    endpoint = new_endpoint()
    early, late = record(connection, organisation, 2)
    claimed = {one.event: one for one in claim(connection, organisation)}

    # The next attempt would come an hour from now.
    asks = AttemptResult(status=503, error="busy", retry_after_s=3_600)
    assert end(connection, claimed[early], asks, webhook_deadline_s=3_500) == DeliveryState.FAILED
    assert end(connection, claimed[late], asks, webhook_deadline_s=3_700) == DeliveryState.PENDING
    wait = get_delivery(connection, organisation, endpoint, late).next_attempt_at
    row = connection.execute("SELECT extract(epoch FROM %s - now())::float8", [wait]).fetchone()
    assert row is not None
    assert 3_500 < row[0] <= 3_600


def test_an_endpoint_that_is_gone_gets_nothing_until_it_is_enabled(
    connection: Connection[Any], organisation: str, new_endpoint: NewEndpointId
) -> None:
    endpoint = new_endpoint()
    events = record(connection, organisation, outbox.PER_ENDPOINT + 2)
    first, claimed = events[0], claim(connection, organisation)
    gone = AttemptResult(status=410, error="the endpoint answered 410", gone=True)
    for one in claimed:
        assert end(connection, one, gone) == DeliveryState.PENDING

    disabled = get_endpoint(connection, organisation, endpoint)
    assert (disabled.enabled, disabled.disabled_reason) == (False, "the endpoint answered 410 Gone")
    assert record(connection, organisation) == []
    waiting = [get_delivery(connection, organisation, endpoint, event) for event in events]
    assert {(one.state, one.next_attempt_at) for one in waiting} == {(DeliveryState.PENDING, None)}
    assert claim(connection, organisation) == []
    with pytest.raises(Conflict, match="disabled"):
        redeliver(connection, organisation, endpoint, first)
    with connection.transaction():
        enabled = change_endpoint(connection, organisation, endpoint, EndpointChanges(enabled=True))
    assert (enabled.disabled_reason, enabled.failures) == (None, 0)
    assert len(claim(connection, organisation)) == outbox.PER_ENDPOINT


def test_an_endpoint_that_only_fails_is_disabled_after_its_time(
    connection: Connection[Any], organisation: str, new_endpoint: NewEndpointId
) -> None:
    endpoint = new_endpoint()
    record(connection, organisation)
    for number in range(1, outbox.MIN_FAILURES + 1):
        assert get_endpoint(connection, organisation, endpoint).enabled
        make_due(connection, organisation)
        [claimed] = claim(connection, organisation)
        end(connection, claimed, FAILS, webhook_disable_after_s=1e-9)
        if number == 1:
            connection.execute(
                "UPDATE webhook_endpoints SET failing_since = now() - interval '1 s' WHERE id = %s",
                [endpoint],
            )

    disabled = get_endpoint(connection, organisation, endpoint)
    assert (disabled.enabled, disabled.disabled_reason) == (
        False,
        "10 attempts in a row failed; the last error was: the endpoint answered 500",
    )


def test_a_failure_of_the_cluster_does_not_count_against_the_endpoint(
    connection: Connection[Any], organisation: str, new_endpoint: NewEndpointId
) -> None:
    endpoint = new_endpoint()
    record(connection, organisation)
    [claimed] = claim(connection, organisation)
    ours = AttemptResult(error="not signed", endpoint_failed=False)
    assert end(connection, claimed, ours) == DeliveryState.PENDING
    assert get_endpoint(connection, organisation, endpoint).failures == 0


def test_endpoints_and_organisations_have_bounded_attempts_in_flight(
    connection: Connection[Any], pool: ConnectionPool, organisation: str, new_endpoint: NewEndpointId
) -> None:
    for name in "abc":
        new_endpoint(f"https://{name}.example/")
    other = new_organisation(pool)
    new_endpoint("https://d.example/", owner=other)
    record(connection, organisation, 10)
    record(connection, other, 3)

    first = claim(connection, organisation, other)
    by_endpoint = {url: len([one for one in first if one.url == url]) for url in {one.url for one in first}}
    assert max(by_endpoint.values()) <= outbox.PER_ENDPOINT
    assert len([one for one in first if one.organisation == organisation]) == outbox.PER_ORGANISATION
    assert by_endpoint["https://d.example/"] == 3
    # The busy organisation gets no further attempt, but another organisation still gets its turn.
    record(connection, other)
    assert [one.organisation for one in claim(connection, organisation, other)] == [other]
    # An endpoint whose attempt failed gets one attempt at a time.
    for one in first:
        end(connection, one, FAILS if one.organisation == organisation else WORKS)
    record(connection, organisation)
    make_due(connection, organisation)
    assert len(claim(connection, organisation)) == 3


def test_the_organisation_with_the_fewest_attempts_comes_first(
    connection: Connection[Any], pool: ConnectionPool, organisation: str, new_endpoint: NewEndpointId
) -> None:
    other = new_organisation(pool)
    new_endpoint("https://a.example/")
    new_endpoint("https://b.example/", owner=other)
    claim(connection)  # claim the deliveries that other tests left
    record(connection, organisation, 5)
    record(connection, other, 1)

    # The organisation's events are older, and there is room for only two attempts.
    owners = [one.organisation for one in claim(connection, organisation, other, limit=2)]
    assert sorted(owners) == sorted([organisation, other])


def test_a_deleted_organisation_records_and_sends_nothing_more(
    connection: Connection[Any], organisation: str, new_endpoint: NewEndpointId
) -> None:
    new_endpoint()
    record(connection, organisation)
    connection.execute("UPDATE organisations SET deleted_at = now() WHERE id = %s", [organisation])

    assert record(connection, organisation) == []
    assert claim(connection, organisation) == []


def test_one_job_is_needed_while_a_delivery_is_due(
    connection: Connection[Any], pool: ConnectionPool, organisation: str, new_endpoint: NewEndpointId
) -> None:
    new_endpoint()
    kind = uuid4().hex
    claim(connection, lease_s=600)
    assert not has_work(connection, organisation="system", kind=kind)
    record(connection, organisation)
    with connection.transaction(), pool.connection() as other:
        assert has_work(connection, organisation="system", kind=kind)
        assert not has_work(other, organisation="system", kind=kind)
    submit(connection, organisation, JobKind(name=kind), {})
    assert not has_work(connection, organisation=organisation, kind=kind)


def test_an_event_is_sent_again_with_a_new_deadline(
    connection: Connection[Any], organisation: str, new_endpoint: NewEndpointId
) -> None:
    endpoint = new_endpoint()
    (event,) = record(connection, organisation)
    [claimed] = claim(connection, organisation)
    with pytest.raises(Conflict, match="being sent"):
        redeliver(connection, organisation, endpoint, event)
    end(connection, claimed, WORKS)

    again = redeliver(connection, organisation, endpoint, event)
    assert (again.state, again.attempts, again.ended_at) == (DeliveryState.PENDING, 0, None)
    [second] = claim(connection, organisation)
    assert (second.event, second.attempt) == (event, 1)


def test_deliveries_end_at_the_deadline_and_leave_the_log_after_its_days(
    connection: Connection[Any], organisation: str, new_endpoint: NewEndpointId
) -> None:
    endpoint = new_endpoint()
    overdue, old, kept = record(connection, organisation, 3)
    for one in claim(connection, organisation):
        if one.event != overdue:
            end(connection, one, WORKS)
    with connection.transaction():
        change_endpoint(connection, organisation, endpoint, EndpointChanges(enabled=False))
    connection.execute(
        "UPDATE webhook_deliveries SET since = now() - interval '4 days', due_at = now() WHERE event = %s",
        [overdue],
    )
    connection.execute(
        "UPDATE webhook_deliveries SET ended_at = now() - interval '31 days' WHERE event = %s", [old]
    )
    connection.execute(
        "UPDATE webhook_events SET created_at = now() - interval '31 days' WHERE id = %s", [old]
    )

    outbox.end_overdue(connection, deadline_s=SETTINGS.webhook_deadline_s)
    outbox.delete_old(connection, log_days=SETTINGS.webhook_log_days)

    log = {one.event: one for one in list_deliveries(connection, organisation, endpoint, FIRST_PAGE).items}
    assert set(log) == {overdue, kept}
    assert log[overdue].state == DeliveryState.FAILED
    assert "until the deadline" in str(log[overdue].error)
    left = connection.execute("SELECT id FROM webhook_events WHERE organisation = %s", [organisation])
    assert {id for (id,) in left} == {overdue, kept}
