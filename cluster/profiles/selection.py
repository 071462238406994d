"""Selects the customers whose profiles a job computes: one customer, the members of a segment, or all.

Customers who refuse to be profiled are never selected, and neither are customers whose data are being erased.
With ``need_consent``, only customers who have agreed are selected.

    selection = Selection(organisation="acme", as_of=job.created_at)
    ids = select_customers(connection, selection, after="", limit=500)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.sql import SQL as Statement
from psycopg.sql import Composable

from cluster.database.queries import queries
from cluster.errors import NotFound
from cluster.vector_index.filter_sql import condition
from cluster.vector_index.filters import Filter

SQL = queries("cluster.profiles", "selection.sql")


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The customers of one organisation whose profiles are computed, and the time up to which facts count."""

    organisation: str
    #: Facts from this time on do not count, so that every attempt at a job computes the same values.
    as_of: datetime
    #: Id of the only customer; None: all customers, or the members of the segment.
    customer: str | None = None
    #: Filter of the segment on the attributes of profiles; None: every customer.
    segment: Filter | None = None
    #: True if only customers who have agreed may have a profile (``CLUSTER_PROFILES_NEED_CONSENT``).
    need_consent: bool = False

    @property
    def of_all(self) -> bool:
        """True if the selection has every customer who may have a profile."""
        return self.customer is None and self.segment is None


def select_customers(
    connection: Connection[Any], selection: Selection, *, after: str, limit: int
) -> Sequence[str]:
    """Return the ids of the next customers of the selection, in order of their ids.

    Args:
        after: the last id of the previous page; empty for the first page.
        limit: maximum number of ids. If fewer ids are returned, this page is the last one.
    """
    values: dict[str, Any] = {
        **_values(selection),
        "after": after,
        "everyone": selection.segment is None,
        "limit": limit,
    }
    filter: Composable = Statement("true")
    if selection.segment is not None:
        filter = condition(selection.segment, values)
    statement = Statement(SQL["page"]).format(filter=filter)
    return [id for (id,) in connection.execute(statement, values).fetchall()]


def require_profile_allowed(connection: Connection[Any], selection: Selection) -> bool:
    """Return True if ``selection.customer`` is allowed to have a profile, otherwise False.

    Raises:
        NotFound: the organisation has no such customer.
    """
    row = connection.execute(SQL["refuses"], _values(selection)).fetchone()
    if row is None:
        raise NotFound(f"there is no customer {selection.customer!r}")
    return not row[0]


def delete_profiles_without_consent(connection: Connection[Any], selection: Selection) -> int:
    """Delete the profiles of customers who are not allowed to have one. Return the number of deleted
    profiles.

    If a customer refuses, a trigger deletes the profile. This function also finds the profiles that were
    computed before ``need_consent`` was set.
    """
    return connection.execute(SQL["delete_without_consent"], _values(selection)).rowcount


def _values(selection: Selection) -> dict[str, Any]:
    return {
        "organisation": selection.organisation,
        "customer": selection.customer,
        "unsaid": not selection.need_consent,
    }
