"""Keeps open alerts and messages about alerts in the database, so that another process can take over.

before = read_open(connection)
keep_evaluation(connection, before, evaluation, channels=["log"], process="host-1-7")
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cluster.alerts.evaluation import AlertKey, RuleEvaluation, key_of
from cluster.alerts.notices import AlertNotice, OpenAlert, from_json
from cluster.database.queries import queries

SQL = queries("cluster.alerts", "alert_store.sql")
#: Age in days after which a message is deleted from the database, whether it was sent or not.
KEPT_DAYS = 30
#: Maximum number of waiting messages that a process reads when the process begins to evaluate the rules.
MAX_WAITING = 1_000
#: Seconds without an evaluation after which no process counts as the evaluator.
LATE_S = 180.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LastEvaluation:
    """Names the process that evaluated the rules last, and holds the time of this evaluation."""

    process: str
    evaluated_at: datetime

    @property
    def age_s(self) -> float:
        """Seconds since the evaluation."""
        return (datetime.now(UTC) - self.evaluated_at).total_seconds()


def is_late(last: LastEvaluation | None) -> bool:
    """Return True if no process counts as the evaluator."""
    return last is None or last.age_s > LATE_S


def read_open(connection: Connection[Any]) -> dict[AlertKey, OpenAlert]:
    """Return the open alerts, by the keys that ``key_of`` gives them."""
    with connection.cursor(row_factory=class_row(OpenAlert)) as cursor:
        return {key_of(alert): alert for alert in cursor.execute(SQL["open"])}


def firing_counts(connection: Connection[Any]) -> dict[str, int]:
    """Return the number of firing alerts of each rule that has such alerts, by the name of the rule."""
    return dict(connection.execute(SQL["firing"]).fetchall())


def read_last_evaluation(connection: Connection[Any]) -> LastEvaluation | None:
    """Return the last evaluation; None if no process has evaluated the rules yet."""
    with connection.cursor(row_factory=class_row(LastEvaluation)) as cursor:
        return cursor.execute(SQL["last_evaluation"]).fetchone()


def read_waiting(connection: Connection[Any], channels: Collection[str]) -> list[tuple[str, AlertNotice]]:
    """Return the messages to these channels that are neither sent nor given up, each with the name of its
    channel, oldest message first. If there are more than ``MAX_WAITING``, leave out the oldest messages.
    """
    rows = connection.execute(SQL["waiting"], {"channels": list(channels), "limit": MAX_WAITING}).fetchall()
    return [(channel, from_json(notice)) for channel, notice in reversed(rows)]


def keep_evaluation(
    connection: Connection[Any],
    before: Mapping[AlertKey, OpenAlert],
    evaluation: RuleEvaluation,
    *,
    channels: Iterable[str],
    process: str,
) -> None:
    """Write the changed alerts and the messages of one evaluation, and record this evaluation as the last
    one, all in one transaction.

    Args:
        before: the open alerts that the database has now.
        evaluation: the open alerts and the messages to write.
        channels: names of the channels that get each message.
        process: name of the process that evaluated the rules.
    """
    with connection.transaction():
        for key in before.keys() - evaluation.open.keys():
            connection.execute(SQL["close"], _key_values(before[key]))
        for key, alert in evaluation.open.items():
            if alert != before.get(key):
                connection.execute(SQL["keep"], _values(alert))
        for notice in evaluation.notices:
            for channel in channels:
                values = {"id": notice.id, "channel": channel, "at": notice.at}
                connection.execute(SQL["add_notice"], {**values, "notice": Jsonb(notice.json())})
        connection.execute(SQL["evaluated"], {"process": process})


def failing_channels(connection: Connection[Any], channels: Collection[str]) -> dict[str, str]:
    """Return an error for each of these channels with a waiting message whose last attempt failed, by the
    name of the channel. If a channel has several such messages, the error is that of the newest message.
    """
    return dict(connection.execute(SQL["failing"], {"channels": list(channels)}).fetchall())


def record_attempt(
    connection: Connection[Any], id: str, channel: str, *, error: str | None, given_up: bool = False
) -> bool:
    """Record the result of an attempt to send a message. Return False if the database does not have the
    message.

    Args:
        error: why the attempt failed; None if the message was sent.
        given_up: True if the attempt failed and no further attempt follows.
    """
    values = {"id": id, "channel": channel, "error": error, "given_up": given_up}
    return connection.execute(SQL["end_attempt"], values).rowcount == 1


def delete_old_notices(connection: Connection[Any]) -> None:
    """Delete the messages that are older than ``KEPT_DAYS`` days."""
    connection.execute(SQL["delete_old"], {"days": KEPT_DAYS})


def _key_values(alert: OpenAlert) -> dict[str, Any]:
    return {"rule": alert.rule, "labels": Jsonb(alert.labels)}


def _values(alert: OpenAlert) -> dict[str, Any]:
    return {
        **_key_values(alert),
        "since": alert.since,
        "fired_at": alert.fired_at,
        "notified_at": alert.notified_at,
        "value": alert.value,
    }
