"""Adds and changes customers, as the routes ask. Events add them, too (``ingestion``).

The id is made from the external id, so to add a customer that exists only changes the given fields. Each
change of a customer is in the audit log, with the names of the fields and without the values.

    add_customer(connection, "acme", "customer-17", {"name": "Grace"})
    change_customer(connection, "acme", "cust_...", {"email": None})
"""

from collections.abc import Mapping
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from cluster.database.queries import queries
from cluster.errors import Conflict
from cluster.organisations.audit import record
from cluster.platform_data.ids import row_id
from cluster.platform_data.ingestion import share_with_erasures
from cluster.platform_data.rows import CUSTOMERS, Customer

SQL = queries("cluster.platform_data", "directory.sql")

#: The fields that a request gives, with their new values. None removes a value.
Changes = Mapping[str, Any]


def add_customer(
    connection: Connection[Any], organisation: str, external_id: str, changes: Changes
) -> Customer:
    """Add the customer if there is none, make the changes, and return the customer.

    Args:
        changes: ``name``, ``email``, ``properties`` and ``profiling``.

    Raises:
        Conflict: a job erases the customer.
    """
    id = row_id("cust", organisation, external_id)
    _require_not_erased_now(connection, organisation, id)
    values = {"organisation": organisation, "id": id, "external_id": external_id}
    added = connection.execute(SQL["add_customers"], values).rowcount == 1
    if added:
        record(connection, organisation, "customer.created", target=id)
    return change_customer(connection, organisation, id, changes)


def change_customer(connection: Connection[Any], organisation: str, id: str, changes: Changes) -> Customer:
    """Make the changes, and return the customer.

    Raises:
        NotFound: the organisation has no such customer.
        Conflict: a job erases the customer.
    """
    _require_not_erased_now(connection, organisation, id)
    values = dict.fromkeys(("name", "email", "properties", "profiling")) | dict(changes)
    properties = values["properties"]
    values["properties"] = None if properties is None else Jsonb(properties)
    key = {"organisation": organisation, "id": id, "given": list(changes)}
    if changes and connection.execute(SQL["change_customers"], {**key, **values}).rowcount:
        fields = {"fields": sorted(changes)}
        record(connection, organisation, "customer.changed", target=id, details=fields)
    return CUSTOMERS.get(connection, organisation, id)


def _require_not_erased_now(connection: Connection[Any], organisation: str, id: str) -> None:
    share_with_erasures(connection, organisation)
    if connection.execute(SQL["is_being_erased"], {"organisation": organisation, "id": id}).rowcount:
        raise Conflict(f"customer {id!r} is being erased; send the request again when the job has ended")
