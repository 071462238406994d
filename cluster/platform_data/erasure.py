"""Erases everything that the database holds about one customer, and proves it by a count for each table.

The route ``DELETE /v1/customers/{id}`` calls ``erase_customer`` in a transaction. It deletes the rows of most
customers at once. The rows of a customer with more than ``MAX_ROWS`` rows, or more than ``MAX_CONVERSATIONS``
conversations, are deleted by a job of the kind ``erase_customer``. The job calls ``delete_some`` and
``end_erasure``. Until the job ends, every event of the customer is refused.

Only the ids of the customer and of the conversations are kept. They are hashes, and they let the cluster
refuse events from before the erasure that arrive late (``ingestion``).

    erase_customer(connection, "acme", "cust_...").remaining      # {"messages": 0, "customer_events": 0, ...}
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.errors import Conflict, NotFound
from cluster.organisations.audit import record

SQL = queries("cluster.platform_data", "erasure.sql")
#: The tables with rows of customers. A table comes before the tables to which it refers.
TABLES = (
    "responses",
    "message_analyses",
    "messages",
    "customer_events",
    "conversations",
    "customer_profiles",
    "customers",
)
#: Maximum number of rows that one request deletes. While the request deletes, requests that send events wait.
MAX_ROWS = 10_000
#: Maximum number of conversations of a customer that a request erases. With more, even the count can be slow.
MAX_CONVERSATIONS = 100
#: Maximum number of rows that one transaction of the job deletes.
ROWS_AT_ONCE = 5_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasure:
    """The outcome of an erasure, as numbers of rows by table."""

    deleted: Mapping[str, int]
    #: The rows of the customer that are left, counted after the deletion.
    remaining: Mapping[str, int]


def erase_customer(
    connection: Connection[Any], organisation: str, customer: str, *, max_rows: int = MAX_ROWS
) -> Erasure | None:
    """Delete the customer with the profile, all conversations, messages and events. A second call deletes
    nothing more.

    Returns:
        The outcome. None if the customer has more than ``max_rows`` rows: the customer is then marked, and
        the caller submits the job that deletes the rows, unless the job exists.

    Raises:
        NotFound: the organisation has no such customer, and has erased none with this id.
    """
    values = {"organisation": organisation, "customer": customer}
    connection.execute(SQL["exclude_insertions"], values)
    exists, erased, marked = connection.execute(SQL["known"], values).fetchone() or (False, False, False)
    if marked:
        return None
    if not exists and not erased:
        raise NotFound(f"there is no customer {customer!r}")
    if exists:
        connection.execute(SQL["remember"], values)
        connection.execute(SQL["delete_contexts"], values)
    # A row can occur twice among the rows that are counted.
    many = _has_many_conversations(connection, values)
    if many or sum(_counts(connection, values, 2 * max_rows + 2).values()) > max_rows:
        connection.execute(SQL["mark"], values)
        connection.execute(SQL["hide"], values)
        connection.execute(SQL["delete_profile"], values)
        record(connection, organisation, "customer.erasure_requested", target=customer)
        return None
    deleted = {table: _delete(connection, values, table, None) for table in TABLES}
    if exists:
        record(connection, organisation, "customer.erased", target=customer, details=deleted)
    return Erasure(deleted=deleted, remaining=_counts(connection, values))


def delete_some(connection: Connection[Any], organisation: str, customer: str, table: str) -> int:
    """Delete at most ``ROWS_AT_ONCE`` rows of a marked customer from the table. Return the number of deleted
    rows; 0 if no row is left.
    """
    values = {"organisation": organisation, "customer": customer}
    connection.execute(SQL["hash_joins"])
    return _delete(connection, values, table, ROWS_AT_ONCE)


def end_erasure(
    connection: Connection[Any], organisation: str, customer: str, deleted: Mapping[str, int]
) -> Erasure:
    """Prove that no row of a marked customer is left, and accept new events of the customer.

    Args:
        deleted: number of deleted rows by table, for the audit log.

    Raises:
        Conflict: rows are left.
    """
    values = {"organisation": organisation, "customer": customer}
    connection.execute(SQL["exclude_insertions"], values)
    connection.execute(SQL["hash_joins"])
    remaining = _counts(connection, values)
    if any(remaining.values()):
        raise Conflict(f"rows of customer {customer!r} are left: {remaining}; queue this job again")
    connection.execute(SQL["unmark"], values)
    record(connection, organisation, "customer.erased", target=customer, details=deleted)
    return Erasure(deleted=deleted, remaining=remaining)


def _has_many_conversations(connection: Connection[Any], values: Mapping[str, str]) -> bool:
    row = connection.execute(SQL["many_conversations"], {**values, "most": MAX_CONVERSATIONS}).fetchone()
    return row is not None and bool(row[0])


def _delete(connection: Connection[Any], values: Mapping[str, str], table: str, limit: int | None) -> int:
    return connection.execute(_statement("delete", table), {**values, "limit": limit}).rowcount


def _counts(
    connection: Connection[Any], values: Mapping[str, str], limit: int | None = None
) -> dict[str, int]:
    """Return the number of the customer's rows in each table, at most about ``limit``."""
    counts = {}
    for table in TABLES:
        row = connection.execute(_statement("count", table), {**values, "limit": limit}).fetchone()
        counts[table] = int(row[0]) if row else 0
    return counts


def _statement(name: str, table: str) -> str:
    return SQL[name].replace("{rows}", SQL[f"of_{table}"]).replace("{table}", table)
