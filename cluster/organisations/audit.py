"""Write and list the events of the audit log: who changed what, when and from where. Events are never
changed.

Every function that changes a key, an organisation, a schedule or a webhook endpoint calls ``record`` in the
transaction of the change. So there is no change without an event, and no event without a change.
``caller.current_caller`` says who makes the change.

    with connection.transaction():
        connection.execute(...)                                   # the change
        record(connection, "acme", "api_key.created", target="key_1", details={"name": "ci"})
    page = list_events(connection, "acme", PageRequest(limit=20))
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from cluster.database.paging import FIRST_PAGE, ListPage, ListStatements, PageRequest, read_page
from cluster.database.queries import queries
from cluster.organisations.caller import current_caller


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEvent:
    """One change, as the audit log stores it."""

    organisation: str
    id: str
    at: datetime
    #: The kind of change, such as ``api_key.created``.
    type: str
    #: Id of the thing that was changed.
    target: str
    actor_kind: str
    #: The caller that made the change (``Caller.id``).
    actor: str
    #: Address from which the request came; None if no request made the change.
    address: str | None
    #: Id of the request; None if no request made the change.
    request: str | None
    #: What was changed. This never contains a secret.
    details: Mapping[str, Any]


COLUMNS = ", ".join(field.name for field in fields(AuditEvent))
SQL = {
    name: text.replace("{columns}", COLUMNS)
    for name, text in queries("cluster.organisations", "audit.sql").items()
}
LISTS = ListStatements(newest=SQL["newest"], oldest=SQL["oldest"], places=SQL["places"])


def record(
    connection: Connection[Any],
    organisation: str,
    type: str,
    *,
    target: str,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write an event about the current caller into the log, in the caller's transaction.

    Args:
        organisation: the organisation that owns the changed thing.
        type: the thing and the change, such as ``schedule.deleted``.
        target: id of the changed thing.
        details: what was changed, as JSON. This must not contain a secret.
    """
    caller = current_caller()
    values = {
        "organisation": organisation,
        "id": f"audit_{secrets.token_hex(12)}",
        "type": type,
        "target": target,
        "actor_kind": caller.kind,
        "actor": caller.id,
        "address": caller.address,
        "request": caller.request,
        "details": Jsonb(dict(details or {})),
    }
    connection.execute(SQL["record"], values)


def list_events(
    connection: Connection[Any],
    organisation: str,
    page: PageRequest = FIRST_PAGE,
    *,
    type: str | None = None,
    actor: str | None = None,
    target: str | None = None,
) -> ListPage[AuditEvent]:
    """Return a page of the organisation's events. A filter that is None selects all events.

    Raises:
        InvalidInput: the cursor is not an event of the organisation.
    """
    values = {"organisation": organisation, "type": type, "actor": actor, "target": target}
    found = read_page(connection, LISTS, values, page)
    return ListPage(items=[AuditEvent(**row) for row in found.items], has_more=found.has_more)
