"""Delete an organisation: refuse its requests immediately, and delete its data in a durable job.

``request_deletion`` is called by ``python -m cluster.organisations delete`` and by the route of the operator.
The job is ``data_jobs.kinds.delete_organisation``, which calls the other functions. A new table needs no code
here, because the code finds every column that refers to an organisation in the catalogue of the database.

    job = request_deletion(connection, "acme", default="default")
    while delete_some(connection, column, "acme"): ...
    remaining(connection, "acme")                      # rows of each table; all 0 at the end
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.sql import SQL as Statement
from psycopg.sql import Identifier

from cluster.database.queries import queries
from cluster.errors import Conflict
from cluster.jobs import queue
from cluster.jobs.jobs import SYSTEM, Job, get_job
from cluster.jobs.kinds import DELETE_ORGANISATION
from cluster.organisations.audit import record
from cluster.organisations.organisations import lock_organisation
from cluster.organisations.rows import OrganisationRow

SQL = queries("cluster.documents", "organisation_deletion.sql")
#: Maximum number of rows that one transaction deletes.
ROWS_AT_ONCE = 2_000
#: Tables whose rows are kept, because bills need usage and prices, and the audit log never loses a row.
KEPT = frozenset(
    {
        *("usage_events", "usage_prices", "usage_hourly", "usage_daily"),
        *("usage_reports", "usage_report_lines"),
        *("dirty_windows", "analytics_progress", "audit_events"),
    }
)
REASON = "the organisation is being deleted"
CODE = "organisation_deleted"


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnerColumn:
    """A column that names the owner of each row of a table."""

    table: str
    column: str


def request_deletion(connection: Connection[Any], organisation: str, *, default: str) -> Job:
    """Refuse all requests of the organisation from now on, and submit the job that deletes its data.

    Args:
        organisation: id of the organisation.
        default: the organisation of requests and commands that name no organisation
            (``CLUSTER_ORGANISATION``).

    Raises:
        NotFound: there is no such organisation.
        Conflict: the organisation is deleted already, or it is the default organisation or ``system``.
    """
    if organisation in {default, SYSTEM}:
        raise Conflict(
            f"organisation {organisation!r} cannot be deleted: "
            + (
                "the cluster's own jobs belong to it"
                if organisation == SYSTEM
                else "requests and commands that name no organisation act for it (CLUSTER_ORGANISATION)"
            )
        )
    with connection.transaction():
        lock_organisation(connection, organisation)
        job = queue.submit(
            connection, SYSTEM, DELETE_ORGANISATION, {"organisation": organisation}, subject=organisation
        )
        values = {"organisation": organisation, "job": job.id}
        connection.execute(SQL["mark"], values)
        connection.execute(SQL["revoke_keys"], values)
        record(connection, organisation, "organisation.deleted", target=organisation, details={"job": job.id})
    return job


def cancel_jobs(connection: Connection[Any], organisation: str) -> int:
    """Cancel up to 500 open jobs of the organisation, and return the number of jobs that are still open."""
    ids = [id for (id,) in connection.execute(SQL["open_jobs"], {"organisation": organisation})]
    queue.cancel_many(connection, organisation, ids, reason=REASON, code=CODE)
    row = connection.execute(SQL["running_jobs"], {"organisation": organisation}).fetchone()
    return int(row[0]) if row else 0


def mark_stores(connection: Connection[Any], organisation: str) -> list[str]:
    """Mark the organisation's vector stores as deleted, and return the ids of the stores whose rows still
    exist.
    """
    values = {"organisation": organisation}
    connection.execute(SQL["mark_stores"], values)
    return [id for (id,) in connection.execute(SQL["stores"], values)]


def unsent_deletions(connection: Connection[Any], organisation: str) -> dict[str, int]:
    """Return, for each external index, the number of outbox entries that are not sent yet."""
    return dict(connection.execute(SQL["outbox"], {"organisation": organisation}).fetchall())


def delete_turns(connection: Connection[Any], organisation: str) -> int:
    """Delete the queue entries of the organisation that no worker holds, and return the number of deleted
    entries.
    """
    return connection.execute(SQL["delete_turns"], {"organisation": organisation}).rowcount


def owner_columns(connection: Connection[Any]) -> list[OwnerColumn]:
    """Return the columns of all tables whose rows are deleted with an organisation. If one table refers to
    another table, the columns of the referring table come first.
    """
    found = connection.execute(SQL["columns"]).fetchall()
    columns = [OwnerColumn(table=table, column=column) for table, column in found]
    referred = [(one, other) for one, other in connection.execute(SQL["references"]) if one != other]
    ordered: list[OwnerColumn] = []
    waiting = [column for column in columns if column.table not in KEPT]
    while waiting:
        tables = {column.table for column in waiting}
        blocked = {other for one, other in referred if one in tables}
        free = [column for column in waiting if column.table not in blocked] or waiting
        ordered += free
        waiting = [column for column in waiting if column not in free]
    return ordered


def delete_some(connection: Connection[Any], column: OwnerColumn, organisation: str) -> int:
    """Delete at most ``ROWS_AT_ONCE`` of the organisation's rows of the table. Return the number of deleted
    rows.
    """
    statement = Statement(
        "DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE {column} = %s LIMIT %s))"
    )
    names = {"table": Identifier(column.table), "column": Identifier(column.column)}
    return connection.execute(statement.format(**names), [organisation, ROWS_AT_ONCE]).rowcount


def remaining(connection: Connection[Any], organisation: str) -> dict[str, int]:
    """Return the number of the organisation's rows in each table of ``owner_columns``. Before that, wait
    until every open insertion has ended.

    An insertion that began before the deletion holds a lock on the organisation's row. This function waits
    for such locks. Later insertions are refused by the database.
    """
    connection.execute(SQL["wait_for_insertions"], {"organisation": organisation})
    counts: dict[str, int] = {}
    for column in owner_columns(connection):
        counts[column.table] = counts.get(column.table, 0) + _count(connection, column, organisation)
    return counts


def deletion_of(connection: Connection[Any], row: OrganisationRow) -> dict[str, Any] | None:
    """Return id, state, error and result of the job that deletes the organisation; None if no deletion was
    requested.
    """
    if row.deletion_job is None:
        return None
    job = get_job(connection, SYSTEM, row.deletion_job)
    return {"job": job.id, "state": str(job.state), "error": job.error, "result": job.result}


def kept(connection: Connection[Any], organisation: str) -> Mapping[str, int]:
    """Return the number of the organisation's rows in each table whose rows are kept."""
    return {
        table: _count(connection, OwnerColumn(table=table, column="organisation"), organisation)
        for table in sorted(KEPT)
    }


def _count(connection: Connection[Any], column: OwnerColumn, organisation: str) -> int:
    statement = Statement("SELECT count(*) FROM {table} WHERE {column} = %s").format(
        table=Identifier(column.table), column=Identifier(column.column)
    )
    row = connection.execute(statement, [organisation]).fetchone()
    return int(row[0]) if row else 0
