"""In each replica and worker, runs a thread that reports the state of the process and evaluates the alerts.

Only one process at a time is the evaluator of the alerts. Each process tries to be the evaluator, so the
alerts are evaluated while at least one replica or worker is alive. A process that is not the evaluator keeps
no connection open between two reports.

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

#: Seconds after which Postgres ends a statement of this thread, so that no wait for a lock can stop the
#: reports.
STATEMENT_TIMEOUT_S = 10
#: Maximum seconds that ``stop`` waits for the thread.
STOP_S = 5.0


class ProcessWatch:
    """Reports the state of this process, and evaluates the alerts while no other process evaluates them.

    Args:
        settings: the period, the channels and the database.
        deployment: Serve's name of the deployment of this process.
        state: returns the values of further fields of ``ProcessReport``, such as ``requests``.
        alerter: evaluates the rules. None: an alerter with these settings, or no alerter if
            ``CLUSTER_ALERTS`` is false.
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
        """Seconds since this process last reached the database; 0 if that was at most two periods ago."""
        silent_s = time.monotonic() - self._reached_at
        return silent_s if silent_s > 2 * self._settings.alert_period_s else 0.0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @contextmanager
    def health_check(self) -> Iterator[None]:
        """In later reports, show this process as healthy if the block ends without an error, and as not
        healthy otherwise.
        """
        healthy = False
        try:
            yield
            healthy = True
        finally:
            self._healthy = healthy

    def stop(self) -> None:
        """Ask the thread to delete the report of this process and to end, and wait for at most ``STOP_S``."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def turn(self) -> None:
        """Report once, and evaluate the rules once if no other process evaluates them. If the database cannot
        be used, log this, and let the alerter continue without the database.
        """
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
            connection = self._connected()
            short = set[Resource]()
            try:
                with translated():
                    write_report(connection, self._report())
            except Shortage as exc:  # not raised, because a rule about shortages must be evaluated
                short.add(exc.resource)
            self._reached_at = time.monotonic()
            if self._alerter is None or not self._alerter.evaluate(connection, short=short):
                self._disconnect()

    def _report(self) -> ProcessReport:
        home = self._settings.home
        # The home may not exist on a node that stores nothing there. Then its nearest existing parent counts.
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
            except Exception:  # not raised, because the thread must continue with the next turn
                log.exception("watch_failed")
                self._disconnect()
            self._stopping.wait(self._settings.alert_period_s)
        if self._alerter is not None:
            self._alerter.stop()
        try:
            with for_all_organisations(), translated():
                delete_report(self._connected(), self.process)
        except ClusterError as exc:  # not raised, because an evaluator deletes the report when it is old
            log.warning("report_not_deleted", reason=str(exc))
        finally:
            self._disconnect()

    def _connected(self) -> Connection[Any]:
        """Return the connection of this thread. Open a new connection if there is none."""
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._settings)
            self._connection.execute(f"SET statement_timeout = '{STATEMENT_TIMEOUT_S}s'")
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
