"""Writes and reads profiles. A profile has parts, such as ``behaviour``, and each part has named values.

Each part is computed by code of its own (``data_jobs/kinds/profiles``), which calls ``write_part``. A value
is stored with its number of cases and the ids of its evidence, and a part with its version and the time of
its computation.

    write_part(connection, selection, PartVersion(part="behaviour", version="1"), rows)
    get_profile(connection, "acme", "cust_...").parts["behaviour"]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database.queries import queries
from cluster.errors import NotFound
from cluster.platform_data.ingestion import share_with_erasures
from cluster.profiles.selection import Selection

SQL = queries("cluster.profiles", "profiles.sql")
#: Maximum number of ids that a value names as its evidence. The latest ids are named.
MAX_EVIDENCE = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileValue:
    """One value of a profile."""

    #: A number, a text, a boolean, or a JSON object or list; None if it cannot be computed. Only
    #: numbers, texts and booleans can be used in the filters of segments.
    value: Any
    #: Number of cases from which the value is computed.
    n: int
    #: Ids of the latest events, messages or conversations from which the value is computed, at most
    #: ``MAX_EVIDENCE``.
    evidence: Sequence[str] = ()
    #: Code of the reason why ``value`` is None, such as ``insufficient_data``; None if there is a value, or
    #: if ``n`` explains why there is no value.
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the value as the database keeps it."""
        reason = {} if self.reason is None else {"reason": self.reason}
        return {"value": self.value, "n": self.n, "evidence": list(self.evidence), **reason}


@dataclass(frozen=True, kw_only=True, slots=True)
class PartVersion:
    """Names a part of profiles, and the version of the code or the model that computes it."""

    part: str
    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomerProfileRow:
    """One customer's profile, as the database stores it."""

    customer: str
    #: Id of the customer in the events.
    external_id: str
    #: The numbers, texts and booleans of all parts, by name.
    attributes: Mapping[str, Any]
    #: For each part, by name: ``version``, ``as_of``, ``computed_at`` and ``values``.
    parts: Mapping[str, Any]
    computed_at: datetime


def write_part(
    connection: Connection[Any],
    selection: Selection,
    part: PartVersion,
    rows: Mapping[str, Mapping[str, ProfileValue]],
) -> int:
    """Replace one part of the profiles of some customers, in the caller's transaction. Return the number of
    written profiles.

    Nothing is written for customers who are not allowed to have a profile, are being erased or no longer
    exist. The other parts of the profiles do not change. Until the transaction ends, an erasure of data of
    the organisation waits, and so do events that change these customers.

    Args:
        rows: for each customer, by id, the values of the part by name. Names are unique over all parts.
    """
    share_with_erasures(connection, selection.organisation)
    given = [
        {"customer": customer, "details": {name: value.to_json() for name, value in details.items()}}
        for customer, details in rows.items()
    ]
    values = {
        "organisation": selection.organisation,
        "unsaid": not selection.need_consent,
        "part": part.part,
        "version": part.version,
        "as_of": selection.as_of,
        "rows": orjson.dumps(given).decode(),
    }
    return connection.execute(SQL["write"], values).rowcount


def get_profile(connection: Connection[Any], organisation: str, customer: str) -> CustomerProfileRow:
    """Return the profile of a customer.

    Raises:
        NotFound: the organisation has no such customer, or the customer has no profile.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL["get"], {"organisation": organisation, "customer": customer}).fetchone()
    if row is None:
        raise NotFound(f"there is no customer {customer!r}")
    if row["parts"] is None:
        raise NotFound(
            f"customer {customer!r} has no profile: no job of the kind enrich_customer_profile has computed"
            " it, or the customer has not agreed to be profiled"
        )
    return CustomerProfileRow(**row)
