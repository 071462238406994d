"""Create, get, list, change and delete the webhook endpoints of organisations, and rotate their secrets.

    made, secret = create_endpoint(connection, cipher, "acme", NewEndpoint(...), limit=10)
    secret.reveal()                               # shown once; the database stores it encrypted

The caller has to check the URL first (``cluster.outbound``), because the rules for URLs are settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import uuid4

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database.paging import ListPage, ListStatements, PageRequest, read_page
from cluster.database.queries import queries
from cluster.errors import Conflict, InvalidInput, NotFound, Throttled
from cluster.organisations.audit import record
from cluster.secrets import Secret, SecretCipher
from cluster.secrets.webhook_secrets import add_secret
from cluster.webhooks.event_types import EVENT_TYPES
from cluster.webhooks.signature import new_secret

#: Maximum number of characters of the URL of an endpoint.
MAX_URL_CHARACTERS = 2_048
#: Maximum number of characters of the name of an endpoint.
MAX_NAME_CHARACTERS = 256
#: Seconds for which the previous secret stays valid after a rotation that keeps the previous secret.
OVERLAP_S = 86_400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class NewEndpoint:
    """The properties of a new endpoint."""

    url: str
    event_types: Sequence[str]
    name: str = ""
    enabled: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointChanges:
    """The changes of an endpoint. A field that is None does not change."""

    url: str | None = None
    event_types: Sequence[str] | None = None
    name: str | None = None
    enabled: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class WebhookEndpoint:
    """An endpoint to which events of its organisation are sent."""

    organisation: str
    id: str
    url: str
    name: str
    #: The types of the events that are sent, in alphabetical order.
    event_types: list[str]
    enabled: bool
    #: The reason why the cluster disabled the endpoint; None if the endpoint is enabled, or a person disabled
    #: it.
    disabled_reason: str | None
    #: Number of failed attempts since the last success or change of the endpoint.
    failures: int
    #: Time of the first of these failed attempts; None if ``failures`` is 0.
    failing_since: datetime | None
    created_at: datetime
    #: Time of the last change of the endpoint or of its secret.
    updated_at: datetime
    #: The last characters of the current secret.
    hint: str


COLUMNS = ", ".join(
    "secret.hint" if field.name == "hint" else f"endpoint.{field.name}" for field in fields(WebhookEndpoint)
)
JOIN_HINT = """JOIN webhook_secrets AS secret ON secret.expires_at IS NULL
    AND (secret.organisation, secret.endpoint) = (endpoint.organisation, endpoint.id)"""
SQL = {
    name: text.replace("{columns}", COLUMNS).replace("{with_secret}", JOIN_HINT)
    for name, text in queries("cluster.webhooks", "endpoints.sql").items()
}
LISTS = ListStatements(newest=SQL["newest"], oldest=SQL["oldest"], places=SQL["places"])


def create_endpoint(
    connection: Connection[Any], cipher: SecretCipher, organisation: str, new: NewEndpoint, *, limit: int
) -> tuple[WebhookEndpoint, Secret]:
    """Create an endpoint with a new secret, in the caller's transaction.

    Args:
        limit: maximum number of endpoints of the organisation.

    Raises:
        InvalidInput: an event type does not exist, or a text is too long.
        Conflict: the organisation has an endpoint with this URL.
        Throttled: the organisation has as many endpoints as it may have.
    """
    id, secret = f"we_{uuid4().hex}", new_secret()
    values = _checked(
        {
            "organisation": organisation,
            "id": id,
            "url": new.url,
            "name": new.name,
            "event_types": new.event_types,
            "enabled": new.enabled,
        }
    )
    connection.execute(SQL["lock"], values)
    _require_own_url(connection, values)
    row = connection.execute(SQL["count"], values).fetchone()
    if row is not None and row[0] >= limit:
        raise Throttled(
            f"the organisation has {row[0]} webhook endpoints and may have {limit}; delete one first"
        )
    connection.execute(SQL["insert"], values)
    add_secret(connection, cipher, organisation, id, secret)
    _audit(connection, values, "created", {"event_types": values["event_types"]})
    return get_endpoint(connection, organisation, id), secret


def get_endpoint(connection: Connection[Any], organisation: str, id: str) -> WebhookEndpoint:
    """Return the endpoint with this id.

    Raises:
        NotFound: the organisation has no such endpoint.
    """
    return _one(connection, "get", organisation, id)


def list_endpoints(
    connection: Connection[Any], organisation: str, page: PageRequest
) -> ListPage[WebhookEndpoint]:
    """Return one page of the organisation's endpoints.

    Raises:
        InvalidInput: the page's cursor names no endpoint of the organisation.
    """
    rows = read_page(connection, LISTS, {"organisation": organisation}, page)
    return ListPage(items=[WebhookEndpoint(**row) for row in rows.items], has_more=rows.has_more)


def change_endpoint(
    connection: Connection[Any], organisation: str, id: str, changes: EndpointChanges
) -> WebhookEndpoint:
    """Change the endpoint, in the caller's transaction. If nothing differs, nothing is written.

    While an endpoint is disabled, no event is recorded for it, and its pending deliveries wait. When the
    endpoint is enabled again, these deliveries are due immediately.

    Raises:
        NotFound: the organisation has no such endpoint.
        InvalidInput, Conflict: as in ``create_endpoint``.
    """
    before = _one(connection, "lock_one", organisation, id)
    values = _checked(
        {
            "organisation": organisation,
            "id": id,
            "url": before.url if changes.url is None else changes.url,
            "name": before.name if changes.name is None else changes.name,
            "event_types": before.event_types if changes.event_types is None else changes.event_types,
            "enabled": before.enabled if changes.enabled is None else changes.enabled,
        }
    )
    changed = [name for name, value in values.items() if getattr(before, name) != value]
    if not changed:
        return before
    connection.execute(SQL["lock"], values)
    _require_own_url(connection, values)
    connection.execute(SQL["update"], values)
    _audit(connection, values, "changed", {"fields": changed})
    if values["enabled"] != before.enabled:
        connection.execute(SQL["resume_deliveries" if values["enabled"] else "pause_deliveries"], values)
    return get_endpoint(connection, organisation, id)


def rotate_secret(
    connection: Connection[Any], cipher: SecretCipher, organisation: str, id: str, *, keep_old: bool
) -> tuple[WebhookEndpoint, Secret]:
    """Give the endpoint a new secret, in the caller's transaction.

    Args:
        keep_old: True to sign requests with the previous secret too, for ``OVERLAP_S`` seconds.

    Raises:
        NotFound: the organisation has no such endpoint.
    """
    _one(connection, "lock_one", organisation, id)
    secret = new_secret()
    kept_s = OVERLAP_S if keep_old else 0.0
    add_secret(connection, cipher, organisation, id, secret, keep_others_s=kept_s)
    key = {"organisation": organisation, "id": id}
    connection.execute(SQL["secret_changed"], key)
    _audit(connection, key, "secret_rotated", {"keep_old": keep_old})
    return get_endpoint(connection, organisation, id), secret


def delete_endpoint(connection: Connection[Any], organisation: str, id: str) -> None:
    """Delete the endpoint with its secrets, its pending deliveries and its delivery log.

    Raises:
        NotFound: the organisation has no such endpoint.
    """
    key = {"organisation": organisation, "id": id}
    if connection.execute(SQL["delete"], key).rowcount == 0:
        raise no_endpoint(id)
    _audit(connection, key, "deleted", {})


def no_endpoint(id: str) -> NotFound:
    """Return the error for an id that no endpoint of the organisation has."""
    return NotFound(f"no webhook endpoint {id!r}")


def _audit(connection: Connection[Any], key: dict[str, Any], change: str, details: dict[str, Any]) -> None:
    """Write the change into the audit log, without the URL, because some URLs contain a secret."""
    record(connection, key["organisation"], f"webhook_endpoint.{change}", target=key["id"], details=details)


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    """Check the properties of an endpoint, and return them with sorted event types, without repetitions."""
    for name, limit in (("url", MAX_URL_CHARACTERS), ("name", MAX_NAME_CHARACTERS)):
        if len(values[name]) > limit:
            raise InvalidInput(
                f"{name} has {len(values[name]):,} characters; it may have {limit:,}", param=name
            )
    unknown = sorted(set(values["event_types"]) - EVENT_TYPES.keys())
    if unknown or not values["event_types"]:
        wrong = f"there is no event type {unknown[0]!r}" if unknown else "event_types is empty"
        raise InvalidInput(f"{wrong}; the types are {', '.join(EVENT_TYPES)}", param="event_types")
    return {**values, "event_types": sorted(set(values["event_types"]))}


def _require_own_url(connection: Connection[Any], values: dict[str, Any]) -> None:
    """Refuse a URL that another endpoint has. Otherwise, a client that repeats a request for a new endpoint
    would create a second endpoint.

    Raises:
        Conflict: another endpoint of the organisation has the URL.
    """
    other = connection.execute(SQL["with_url"], values).fetchone()
    if other is not None:
        raise Conflict(
            f"webhook endpoint {other[0]} has this URL; change that endpoint, or rotate its secret"
        )


def _one(connection: Connection[Any], statement: str, organisation: str, id: str) -> WebhookEndpoint:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL[statement], {"organisation": organisation, "id": id}).fetchone()
    if row is None:
        raise no_endpoint(id)
    return WebhookEndpoint(**row)
