"""A database of its own, because the rules count all rows, and a channel that keeps its messages."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from psycopg_pool import ConnectionPool

from cluster.alerts.channels import NotSent
from cluster.alerts.notices import AlertNotice
from cluster.alerts.rules import RULES
from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.settings import Settings
from tests.own_database import own_database
from tests.waiting import LONGEST_WAIT_S

#: The rules of the cluster, but each alert fires at once.
AT_ONCE = {name: replace(rule, for_s=0) for name, rule in RULES.items()}


class KeepingChannel:
    """Keeps the messages that it sent, and fails as often as the test says."""

    def __init__(self, name: str = "kept") -> None:
        self.name = name
        self.sent: list[AlertNotice] = []
        self.failures = 0
        #: The wait that the receiver asks for when it fails.
        self.asks_to_wait_s: float | None = None
        #: The times of the failed attempts, and of those that succeeded (``time.monotonic``).
        self.failed_at: list[float] = []
        self.sent_at: list[float] = []
        self._changed = threading.Condition()

    def send(self, notice: AlertNotice) -> None:
        """Keep the message."""
        if self.failures:
            self.failures -= 1
            self.failed_at.append(time.monotonic())
            raise NotSent("the receiver is away", retry_after_s=self.asks_to_wait_s)
        with self._changed:
            self.sent_at.append(time.monotonic())
            self.sent.append(notice)
            self._changed.notify_all()

    def wait(self, count: int) -> list[tuple[str, str]]:
        """NoticeState and rule of each message, as soon as there are as many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.sent) >= count, timeout=LONGEST_WAIT_S), self.sent
            return [(notice.state, notice.rule) for notice in self.sent]


@pytest.fixture(scope="package")
def own_settings(settings: Settings, database_url: str) -> Iterator[Settings]:
    """The settings of the package's own database."""
    with own_database(settings, database_url) as own:
        yield own


@pytest.fixture(scope="package")
def own_pool(own_settings: Settings) -> Iterator[ConnectionPool]:
    """Connections to it, with the schema."""
    with open_pool(own_settings, access=OWNER) as pool:
        yield pool


@pytest.fixture(autouse=True)
def no_alerts(own_pool: ConnectionPool) -> None:
    """Delete the alerts, messages and reports of earlier tests."""
    with own_pool.connection() as connection:
        for table in ("open_alerts", "alert_notices", "alert_evaluations", "process_reports"):
            connection.execute(f"DELETE FROM {table}")


@pytest.fixture
def kept() -> KeepingChannel:
    return KeepingChannel()
