"""The thread of each replica and worker that reports its state, and in one process evaluates the alerts.

Each process tries to be the evaluator, so the alerts are evaluated while any replica or worker is alive.
A process that is not the evaluator keeps no connection open between two reports.

    watch = ProcessWatch(settings, deployment="worker", state=lambda: {"requests": 7})
    watch.start()
    watch.stop()                                      # deletes the report of this process
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from socket import gethostname
from typing import Any
from uuid import uuid4

import structlog
from psycopg import Connection

from cluster.alerts.alerter import Alerter
from cluster.alerts.process_reports import ProcessReport, delete_report, write_report
from cluster.database import connect, for_all_organisations, translated
from cluster.errors import ClusterError, Resource, Shortage
from cluster.settings import Settings

log = structlog.get_logger(__name__)

#: Seconds after which Postgres ends a statement of this thread, so that a lock cannot stop the reports.
STATEMENT_TIMEOUT_S = 10
#: Seconds that ``stop`` waits for the thread.
STOP_S = 5.0


class ProcessWatch:
    """Reports the state of this process, and evaluates the alerts while no other process does.

    Args:
        settings: the period, the channels and the database.
        deployment: Serve's name of the deployment of this process.
        state: returns fields of ``ProcessReport`` that this process knows.
        alerter: evaluates the rules; None: with the settings, unless they turn the alerter off.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        deployment: str,
        state: Callable[[], Mapping[str, Any]] = dict,
        alerter: Alerter | None = None,
    ) -> None:
        self._settings, self._deployment, self._state = settings, deployment, state
        self._node = gethostname()
        #: Unique name of this process in its report.
        self.process = f"{deployment}-{self._node}-{os.getpid()}-{uuid4().hex[:6]}"
        if alerter is None and settings.alerts:
            alerter = Alerter(settings, process=self.process)
        self._alerter = alerter
        self._healthy = True
        self._connection: Connection[Any] | None = None
        self._reached_at = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    @property
    def database_away_s(self) -> float:
        """Seconds for which this process has not reached the database; 0 while it reaches the database."""
        silent_s = time.monotonic() - self._reached_at
        return silent_s if silent_s > 2 * self._settings.alert_period_s else 0.0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @contextmanager
    def health_check(self) -> Iterator[None]:
        """Report this process as healthy if the block ends without an error, and as not healthy otherwise."""
        healthy = False
        try:
            yield
            healthy = True
        finally:
            self._healthy = healthy

    def stop(self) -> None:
        """End the thread, and delete the report of this process."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def turn(self) -> None:
        """Report once, and evaluate the rules once if no other process evaluates them."""
        with for_all_organisations():
            try:
                self._report_and_evaluate()
            except ClusterError as exc:
                self._disconnect()
                log.warning("watch_without_database", reason=str(exc))
                if self._alerter is not None:
                    self._alerter.database_is_away(self.database_away_s)

    def _report_and_evaluate(self) -> None:
        with translated():
            if self._connection is None or self._connection.closed:
                self._connection = connect(self._settings)
                self._connection.execute(f"SET statement_timeout = '{STATEMENT_TIMEOUT_S}s'")
            connection = self._connection
            short = set[Resource]()
            try:
                with translated():
                    write_report(connection, self._report())
            except Shortage as exc:  # the rules are evaluated nevertheless, because one of them is about this
                short.add(exc.resource)
            self._reached_at = time.monotonic()
            if self._alerter is None or not self._alerter.evaluate(connection, short=short):
                self._disconnect()

    def _report(self) -> ProcessReport:
        home = self._settings.home
        # On a node that keeps nothing in the home, the folder may not exist.
        disk = shutil.disk_usage(next(folder for folder in (home, *home.parents) if folder.exists()))
        return ProcessReport(
            process=self.process,
            deployment=self._deployment,
            node=self._node,
            healthy=self._healthy,
            disk_free_share=disk.free / disk.total,
            **self._state(),
        )

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.turn()
            except Exception:  # not raised, because the thread must go on with the next turn
                log.exception("watch_failed")
                self._disconnect()
            self._stopping.wait(self._settings.alert_period_s)
        if self._alerter is not None:
            self._alerter.stop()
        try:
            with for_all_organisations(), translated():
                connection = self._connection or connect(self._settings)
                self._connection = connection
                delete_report(connection, self.process)
        except ClusterError as exc:  # the report is then deleted when it is old
            log.warning("report_not_deleted", reason=str(exc))
        finally:
            self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
