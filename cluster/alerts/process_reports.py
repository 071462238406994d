"""Writes and reads the reports of replicas and workers about their own state, for alerts.

Each process writes its report every few seconds. A report that is old shows that the process hangs or died.

    write_report(connection, ProcessReport(process="host-1-7", deployment="worker", node="host-1"))
    read_reports(connection)                          # the reports of all processes
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from cluster.database.queries import queries

SQL = queries("cluster.alerts", "process_reports.sql")
#: Age of a report in seconds from which the process of the report counts as silent. The report of a silent
#: process is left out as soon as a newer process of the same deployment has replaced the silent process.
SILENT_S = 60.0
#: Age of a report in seconds after which the report is deleted.
FORGOTTEN_S = 3_600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessReport:
    """Holds the state that one replica or worker reports about itself."""

    #: Unique name of the process.
    process: str
    #: Serve's name of the deployment.
    deployment: str
    #: Host name of the machine or pod.
    node: str
    #: False if the last health check failed.
    healthy: bool = True
    #: Number of requests that were answered in the last five minutes.
    requests: int = 0
    #: Number of the requests in ``requests`` that were answered with status 500 or higher.
    failed_requests: int = 0
    #: Share of free space on the disk that holds the home of the cluster, from 0 to 1.
    disk_free_share: float = 1.0
    #: Resources that this process found used up lately, as values of ``cluster.errors.Resource``.
    short: tuple[str, ...] = ()
    #: Seconds since the database stopped accepting the usage of requests; 0 while the database accepts usage.
    usage_unsent_s: float = 0.0
    #: True while some usage of requests is only in memory, because it cannot be written to a file.
    usage_only_in_memory: bool = False
    #: Seconds since the report was written.
    age_s: float = 0.0

    @property
    def works(self) -> bool:
        """True if the process is healthy and not silent."""
        return self.healthy and self.age_s < SILENT_S


#: The fields of a report that are not in the JSON column ``details``.
COLUMNS = frozenset({"process", "deployment", "node", "age_s"})
DETAILS = tuple(field.name for field in fields(ProcessReport) if field.name not in COLUMNS)


def write_report(connection: Connection[Any], report: ProcessReport) -> None:
    """Write the report, in place of the previous report of the same process."""
    values = asdict(report)
    details = Jsonb({name: values[name] for name in DETAILS})
    connection.execute(SQL["write"], {**values, "details": details})


def read_reports(connection: Connection[Any]) -> list[ProcessReport]:
    """Return the reports of all processes, without replaced silent processes (``SILENT_S``) and without
    reports that are older than ``FORGOTTEN_S`` seconds.
    """
    rows = connection.execute(SQL["all"], {"silent_s": SILENT_S, "forgotten_s": FORGOTTEN_S}).fetchall()
    return [_report(*row) for row in rows]


def delete_report(connection: Connection[Any], process: str) -> None:
    """Delete the report of a process that stops."""
    connection.execute(SQL["delete"], {"process": process})


def delete_old_reports(connection: Connection[Any]) -> None:
    """Delete the reports that are older than ``FORGOTTEN_S`` seconds."""
    connection.execute(SQL["delete_old"], {"forgotten_s": FORGOTTEN_S})


def _report(process: str, deployment: str, node: str, details: dict[str, Any], age_s: float) -> ProcessReport:
    """Make a report from a row. Ignore details that this release does not know."""
    known = {name: details[name] for name in DETAILS if name in details}
    known["short"] = tuple(known.get("short", ()))
    return ProcessReport(process=process, deployment=deployment, node=node, age_s=age_s, **known)
