"""The outbox of webhooks: claim deliveries that are due, and record how their attempts ended.

    for claimed in claim(connection, holder, limit=64, lease_s=30):
        ...                                        # send the event, outside any transaction
    end_attempt(connection, claimed, holder, result, settings=settings)

A claim is a lease. If the process of an attempt dies, the delivery is due again when the lease ends, so an
event may arrive twice and is never lost. The number of attempts in flight is limited for each endpoint and
for each organisation. Organisations with the fewest attempts in flight come first. So an endpoint that
answers slowly, or never, does not delay other organisations. An endpoint whose last attempt failed gets one
attempt at a time.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from psycopg import Connection

from cluster.database.queries import queries
from cluster.retrying import Backoff
from cluster.settings import Settings
from cluster.webhooks.deliveries import DeliveryState

log = structlog.get_logger(__name__)

SQL = queries("cluster.webhooks", "outbox.sql")
#: Maximum number of attempts in flight for one endpoint, and for all endpoints of one organisation.
PER_ENDPOINT, PER_ORGANISATION = 4, 8
#: Maximum number of endpoints that one claim considers and locks. Endpoints of the organisations with the
#: fewest attempts in flight come first. The order is random if these numbers are equal.
MAX_ENDPOINTS = 256
#: Waits between the attempts at a delivery. The maximum wait doubles from half a minute to more than four
#: hours, and each wait is a random part of the maximum (full jitter).
BACKOFF = Backoff(first_s=30.0, longest_s=16_000.0, jitter=True)
#: Minimum wait in seconds, because full jitter can give a wait of zero.
SHORTEST_WAIT_S = 1.0
#: Minimum number of failed attempts in a row before an endpoint is disabled, unless the endpoint answers 410.
MIN_FAILURES = 10
#: Maximum number of deliveries that one transaction ends or deletes, in ``end_overdue`` and ``delete_old``.
ROWS_PER_TRANSACTION = 10_000
GONE_REASON = "the endpoint answered 410 Gone"
SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimedDelivery:
    """A delivery whose next attempt the caller makes now."""

    organisation: str
    endpoint: str
    #: Id of the event.
    event: str
    #: Number of the attempt, from 1.
    attempt: int
    url: str
    #: Type of the event.
    type: str
    #: The data of the event.
    data: dict[str, Any]
    #: Time of the event.
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptResult:
    """The result of an attempt at a delivery."""

    #: Status of the answer; None if there was no answer.
    status: int | None = None
    #: The reason why the attempt failed, as a sentence for the owner of the endpoint; None after a success.
    error: str | None = None
    #: Seconds for which the endpoint asked to wait.
    retry_after_s: float = 0.0
    #: True if the endpoint answered that it wants no more events.
    gone: bool = False
    #: False if the cluster caused the failure, so that the failure does not count against the endpoint.
    endpoint_failed: bool = True


def has_work(connection: Connection[Any], *, organisation: str, kind: str) -> bool:
    """Return True if a delivery is due and no open job sends deliveries.

    Several processes may call this at the same time. Until the caller's transaction ends, only one process
    gets True.

    Args:
        organisation, kind: owner and kind of the jobs that send deliveries.
    """
    if connection.execute(SQL["any_due_of_all"]).fetchone() is None:
        return False
    values = {"organisation": organisation, "kind": kind}
    return connection.execute(SQL["job_is_open"], values).fetchone() is None


def claim(connection: Connection[Any], holder: str, *, limit: int, lease_s: float) -> list[ClaimedDelivery]:
    """Claim deliveries of any organisation that are due, in the caller's transaction.

    Args:
        holder: unique name of the caller.
        limit: maximum number of deliveries.
        lease_s: seconds after which a delivery is due again if its attempt has not ended.
    """
    values = {
        "holder": holder,
        "limit": limit,
        "lease_s": lease_s,
        "per_endpoint": PER_ENDPOINT,
        "per_organisation": PER_ORGANISATION,
        "max_endpoints": MAX_ENDPOINTS,
    }
    rows = connection.execute(SQL["claim_of_all"], values).fetchall()
    return [
        ClaimedDelivery(
            organisation=organisation,
            endpoint=endpoint,
            event=event,
            attempt=attempt,
            url=url,
            type=type,
            data=data,
            created_at=created_at,
        )
        for organisation, endpoint, event, attempt, url, type, data, created_at in rows
    ]


def end_attempt(
    connection: Connection[Any],
    claimed: ClaimedDelivery,
    holder: str,
    result: AttemptResult,
    *,
    settings: Settings,
) -> DeliveryState | None:
    """Record the end of an attempt, in the caller's transaction.

    A failed attempt is repeated after a wait, unless the next attempt would come after the deadline. An
    endpoint that answered 410, or that has only failed for a long time, is disabled.

    Returns:
        The state of the delivery; None if the caller no longer holds the delivery, because another process
        claimed or ended the delivery after the lease, or the endpoint was deleted.
    """
    key = {"organisation": claimed.organisation, "endpoint": claimed.endpoint}
    enabled = True
    if result.error is None:
        connection.execute(SQL["endpoint_works"], key)
    elif result.endpoint_failed:
        enabled = _count_failure(connection, key, result, settings)
    wait_s = max(SHORTEST_WAIT_S, BACKOFF.wait_s(claimed.attempt), result.retry_after_s)
    values = {
        **key,
        "event": claimed.event,
        "holder": holder,
        "response_status": result.status,
        "error": result.error,
        "succeeded": result.error is None,
        "enabled": enabled,
        "wait_s": wait_s,
        "deadline_s": settings.webhook_deadline_s,
    }
    row = connection.execute(SQL["end_attempt"], values).fetchone()
    return None if row is None else DeliveryState(row[0])


def end_overdue(connection: Connection[Any], *, deadline_s: float) -> int:
    """End deliveries that are pending after their deadline, as failed, unless an attempt runs now. Return the
    number of these deliveries.
    """
    values = {"deadline_s": deadline_s, "limit": ROWS_PER_TRANSACTION}
    return connection.execute(SQL["end_overdue_of_all"], values).rowcount


def delete_old(connection: Connection[Any], *, log_days: float) -> int:
    """Delete deliveries that ended more than ``log_days`` ago, and then events of this age that have no
    delivery, in several transactions. Return the number of deleted deliveries.
    """
    values = {"older_than_s": log_days * SECONDS_PER_DAY, "limit": ROWS_PER_TRANSACTION}
    deleted, some = 0, ROWS_PER_TRANSACTION
    while some == ROWS_PER_TRANSACTION:
        with connection.transaction():
            some = connection.execute(SQL["delete_old_of_all"], values).rowcount
        deleted += some
    with connection.transaction():
        connection.execute(SQL["delete_unsent_of_all"], values)
    return deleted


def _count_failure(
    connection: Connection[Any], key: dict[str, Any], result: AttemptResult, settings: Settings
) -> bool:
    """Count a failure of the endpoint, and disable the endpoint if it wants no more events or has failed for
    too long. Return False if the endpoint is now disabled or does not exist any more.
    """
    row = connection.execute(SQL["endpoint_fails"], key).fetchone()
    if row is None:
        return False
    enabled, failures, failing_s = row
    reason = GONE_REASON if result.gone else None
    if failures >= MIN_FAILURES and failing_s >= settings.webhook_disable_after_s:
        reason = reason or f"{failures} attempts in a row failed; the last error was: {result.error}"
    if enabled and reason is not None:
        connection.execute(SQL["disable_endpoint"], {**key, "reason": reason})
        connection.execute(SQL["pause_deliveries"], key)
        log.warning("webhook_endpoint_disabled", **key, reason=reason)
        return False
    return bool(enabled)
