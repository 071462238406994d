"""Erases everything that the database holds about one customer, and proves it by a count for each table.

The route ``DELETE /v1/customers/{id}`` calls ``erase_customer`` in a transaction. Only the ids of the
customer and of the conversations are kept. They are hashes, and they let the cluster refuse events from
before the erasure that arrive late (``ingestion``).

    erase_customer(connection, "acme", "cust_...").remaining      # {"messages": 0, "customer_events": 0, ...}
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.errors import NotFound
from cluster.organisations.audit import record

SQL = queries("cluster.platform_data", "erasure.sql")
#: The tables with rows of customers. A table comes before the tables to which it refers.
TABLES = ("messages", "customer_events", "conversations", "customers")


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasure:
    """The outcome of an erasure, as numbers of rows by table."""

    deleted: Mapping[str, int]
    #: The rows of the customer that are left, counted after the deletion.
    remaining: Mapping[str, int]


def erase_customer(connection: Connection[Any], organisation: str, customer: str) -> Erasure:
    """Delete the customer with all conversations, messages and events. A second call deletes nothing more.

    Raises:
        NotFound: the organisation has no such customer, and has erased none with this id.
    """
    values = {"organisation": organisation, "customer": customer}
    connection.execute(SQL["exclude_insertions"], values)
    exists, erased = connection.execute(SQL["known"], values).fetchone() or (False, False)
    if not exists and not erased:
        raise NotFound(f"there is no customer {customer!r}")
    if exists:
        connection.execute(SQL["remember"], values)
    deleted = {table: connection.execute(f"DELETE {_rows(table)}", values).rowcount for table in TABLES}
    if exists:
        record(connection, organisation, "customer.erased", target=customer, details=deleted)
    return Erasure(deleted=deleted, remaining={table: _count(connection, table, values) for table in TABLES})


def _rows(table: str) -> str:
    return SQL[f"of_{table}"]


def _count(connection: Connection[Any], table: str, values: Mapping[str, str]) -> int:
    row = connection.execute(f"SELECT count(*) {_rows(table)}", values).fetchone()
    return int(row[0]) if row else 0
