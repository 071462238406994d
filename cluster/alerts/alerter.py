"""Evaluates the rules of the alerts. Sends a message when an alert fires, repeatedly while it fires, and when
it ends.

One process of the cluster is the evaluator. The evaluator holds an advisory lock in its database session, so
another process takes over as soon as this session ends. ``watch`` calls this module every few seconds.

    alerter = Alerter(settings, process="host-1-7")
    alerter.evaluate(connection)                      # False: another process is the evaluator
    alerter.database_is_away(70.0)                    # not reached for 70 s
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import structlog
from psycopg import Connection

from cluster.alerts import alert_store
from cluster.alerts.channels import AlertChannel, open_channels
from cluster.alerts.delivery import BACKOFF, NoticeDelivery
from cluster.alerts.evaluation import AlertKey, RuleEvaluation, evaluate
from cluster.alerts.facts import Facts, read_facts
from cluster.alerts.notices import AlertNotice, OpenAlert
from cluster.alerts.process_reports import delete_old_reports
from cluster.alerts.rules import RULES, AlertRule
from cluster.database import connect, translated
from cluster.database.errors import translate
from cluster.errors import ClusterError, Resource, Shortage
from cluster.retrying import Backoff
from cluster.settings import Settings

log = structlog.get_logger(__name__)

#: Name of the advisory lock that the evaluator holds.
LOCK = "alerter"
#: Name of the rule about a process that does not reach the database.
AWAY = "DatabaseAway"
#: The result of an attempt to send a message. The first value is the error, or None if the message was sent.
#: The second value is True if the attempt failed and no further attempt follows.
AttemptEnd = tuple[str | None, bool]


class Alerter:
    """Evaluates the rules while this process is the evaluator.

    Open alerts and messages are in memory and in the database. If the database does not answer or its disk is
    full, the alerter continues with the memory alone.

    Args:
        settings: the channels, the time between repeated messages, and the database.
        process: name of this process.
        channels: the channels that get each message; None: the channels that the settings name.
        rules: the rules to evaluate.
        backoff: the waits after failed attempts to send a message.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        process: str,
        channels: Sequence[AlertChannel] | None = None,
        rules: Mapping[str, AlertRule] = RULES,
        backoff: Backoff = BACKOFF,
    ) -> None:
        self._settings, self._process, self._rules = settings, process, rules
        found = open_channels(settings) if channels is None else channels
        self._delivery = NoticeDelivery(found, record=self._record, backoff=backoff)
        self._open: dict[AlertKey, OpenAlert] = {}
        #: The open alerts as this process last wrote them to the database or read them there.
        self._stored: dict[AlertKey, OpenAlert] = {}
        #: Messages that are not in the database yet.
        self._unstored: list[AlertNotice] = []
        #: Results of attempts that are not in the database yet, by the id and the channel of the message.
        self._unrecorded: dict[tuple[str, str], AttemptEnd] = {}
        self._facts: Facts | None = None
        #: True while this process is the evaluator. Stays True while the process does not reach the database.
        self.evaluates = False

    def evaluate(
        self, connection: Connection[Any], *, short: Iterable[Resource] = (), now: datetime | None = None
    ) -> bool:
        """Evaluate the rules once, write the result to the database, and send the messages. Return False if
        another process is the evaluator.

        Args:
            connection: a connection in autocommit mode that reaches all organisations. The evaluator must use
                the same connection in each call, because the session of the connection holds the lock.
            short: resources that the caller found used up, in addition to those that the database shows.
            now: the current time; None: the time of this machine.

        Raises:
            psycopg.Error: the database does not answer, or refuses a statement. A shortage while the result
                is written is not raised.
        """
        now = now or datetime.now(UTC)
        if not self._takes_lock(connection, now):
            return False
        facts = read_facts(connection)
        self._facts = replace(facts, short=facts.short | {resource.value for resource in short})
        notices = self._evaluate(self._facts, now)
        try:
            self._keep(connection, notices)
        finally:  # the messages are sent even if the database does not keep them
            self._send(notices)
        return True

    def database_is_away(self, seconds: float, *, now: datetime | None = None) -> None:
        """Evaluate the rules without the database, if this process was the evaluator when it lost the
        database. Except for ``seconds``, the facts of the last evaluation with the database are used.

        Args:
            seconds: seconds for which this process has not reached the database.
            now: the current time; None: the time of this machine.
        """
        if self.evaluates and self._facts is not None:
            away = replace(self._facts, database_away_s=seconds)
            notices = self._evaluate(away, now or datetime.now(UTC))
            self._unstored += notices
            self._send(notices)

    def stop(self) -> None:
        """Ask the threads of the channels to end. The next evaluator sends the messages that wait in the
        database.
        """
        self._delivery.stop()

    def _takes_lock(self, connection: Connection[Any], now: datetime) -> bool:
        """Take the lock if it is free, and return True if this process is the evaluator. A new evaluator
        first reads the open alerts and the waiting messages from the database.
        """
        (held,) = connection.execute(alert_store.SQL["take_lock"], {"name": LOCK}).fetchone() or (False,)
        if not held:
            if self.evaluates:  # another process took over while this process did not reach the database
                self._hand_over(now)
            return False
        last = alert_store.read_last_evaluation(connection)
        if not self.evaluates or (last is not None and last.process != self._process):
            self._open = self._stored = alert_store.read_open(connection)
            self._unstored.clear()
            self._delivery.clear()
            for channel, notice in alert_store.read_waiting(connection, self._delivery.channels):
                self._delivery.add(channel, notice)
            log.info("alerter_begins", process=self._process, open_alerts=len(self._open))
        self.evaluates = True
        return True

    def _hand_over(self, now: datetime) -> None:
        """Forget the state of this process, because another process is the evaluator now.

        If this process had sent a message that it lost the database (``AWAY``), the new evaluator may not
        know of this alert. So this method sends the message that the alert has ended.
        """
        if self._facts is not None:
            own = {name: rule for name, rule in self._rules.items() if name == AWAY}
            ended = evaluate(self._facts, self._open, now=now, repeat_s=0, rules=own)
            self._send(ended.notices)
        self.evaluates, self._open, self._stored, self._facts = False, {}, {}, None
        self._unstored.clear()

    def _evaluate(self, facts: Facts, now: datetime) -> list[AlertNotice]:
        """Evaluate the rules, keep the open alerts in memory, and return the messages to send."""
        found = evaluate(
            facts, self._open, now=now, repeat_s=self._settings.alert_repeat_s, rules=self._rules
        )
        self._open = found.open
        return found.notices

    def _send(self, notices: Iterable[AlertNotice]) -> None:
        for notice in notices:
            for channel in self._delivery.channels:
                self._delivery.add(channel, notice)

    def _keep(self, connection: Connection[Any], notices: list[AlertNotice]) -> None:
        """Write the open alerts, and the messages and results of attempts that are not in the database yet.
        Delete old messages and reports. If the database has no room, the data that could not be written stay
        in memory until the next evaluation.
        """
        self._unstored += notices
        whole = RuleEvaluation(open=self._open, notices=self._unstored)
        try:
            alert_store.keep_evaluation(
                connection, self._stored, whole, channels=self._delivery.channels, process=self._process
            )
            self._stored, self._unstored = whole.open, []
            for id, channel in list(self._unrecorded):
                error, given_up = self._unrecorded[id, channel]
                alert_store.record_attempt(connection, id, channel, error=error, given_up=given_up)
                del self._unrecorded[id, channel]
            alert_store.delete_old_notices(connection)
            delete_old_reports(connection)
        except psycopg.Error as exc:
            if not isinstance(translate(exc), Shortage):
                raise
            log.warning("alerts_only_in_memory", reason=str(exc))

    def _record(self, id: str, channel: str, error: str | None, given_up: bool) -> None:
        """Record the result of an attempt to send a message. If the database does not answer or does not have
        the message yet, keep the result in memory for ``_keep``.

        The method opens a new connection, because it runs in the thread of a channel.
        """
        try:
            with translated(), connect(self._settings) as connection:
                if alert_store.record_attempt(connection, id, channel, error=error, given_up=given_up):
                    return
        except ClusterError as exc:
            log.warning("alert_attempt_not_recorded", alert=id, channel=channel, reason=str(exc))
        self._unrecorded[id, channel] = error, given_up
