"""Stores, reads and deletes responses. Each response names the response that it continues.

store_response(connection, "acme", StoredResponse(id=new_response_id(), ...))
turns = earlier_turns(connection, "acme", "resp_...")       # the oldest first
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any
from uuid import uuid4

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cluster.database.queries import queries
from cluster.errors import NotFound
from cluster.organisations.caller import require_store
from cluster.platform_data.directory import add_customer
from cluster.platform_data.ids import row_id
from cluster.platform_data.ingestion import share_with_erasures

SQL = queries("cluster.responses", "stored_responses.sql")

#: Days for which a response is kept, as at OpenAI.
LIFETIME_DAYS = 30
#: Maximum number of earlier responses that a request continues.
MAX_TURNS = 100
#: A chain of earlier responses is read until it has this many bytes, because a replica holds it in memory.
MAX_CHAIN_BYTES = 4_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredResponse:
    """A response that is stored, or is to be stored."""

    id: str
    #: Id of the response that this one continues; None if it begins a conversation.
    previous: str | None
    #: Id of the customer who asks; None if it is unknown. The erasure of the customer deletes the response.
    customer: str | None
    #: External id of the conversation, which all responses of a chain share.
    conversation: str | None
    #: Ids of the vector stores that were searched.
    stores: Sequence[str]
    #: The items of the request, as JSON values.
    input: Sequence[Mapping[str, Any]]
    #: The answer, as JSON values.
    response: Mapping[str, Any]


_COLUMNS = frozenset(field.name for field in fields(StoredResponse))


def new_response_id() -> str:
    """Return an id that no other response has."""
    return f"resp_{uuid4().hex}"


def customer_of(
    connection: Connection[Any],
    organisation: str,
    *,
    user: str | None,
    previous: StoredResponse | None,
    conversation: str | None,
) -> str | None:
    """Return the id of the customer who asks; None if it is unknown. Add the customer if the request names a
    new customer, so that the customer can be erased. Call this in the transaction that stores the response.

    Args:
        user: external id of the customer, as the request names it.
        previous: the response that the request continues.
        conversation: external id of the conversation.

    Raises:
        Conflict: a job is erasing the customer.
    """
    share_with_erasures(connection, organisation)
    if user is not None:
        return add_customer(connection, organisation, user, {}).id
    if previous is not None and previous.customer is not None:
        return previous.customer
    if conversation is None:
        return None
    values = {"organisation": organisation, "conversation": row_id("conv", organisation, conversation)}
    row = connection.execute(SQL["customer_of_conversation"], values).fetchone()
    return None if row is None else row[0]


def store_response(connection: Connection[Any], organisation: str, response: StoredResponse) -> None:
    """Store the response for ``LIFETIME_DAYS``."""
    values: dict[str, Any] = {name: getattr(response, name) for name in _COLUMNS}
    values |= {"organisation": organisation, "days": LIFETIME_DAYS, "stores": list(response.stores)}
    values |= {"input": Jsonb(list(response.input)), "response": Jsonb(dict(response.response))}
    connection.execute(SQL["store"], values)


def get_response(connection: Connection[Any], organisation: str, id: str) -> StoredResponse:
    """Return the response with this id.

    Raises:
        NotFound: the organisation has no such response.
        NotPermitted: the caller's key may not use a vector store that was searched for the response.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL["get"], {"organisation": organisation, "id": id}).fetchone()
    if row is None:
        raise _not_found(id)
    return _permitted(row)


def earlier_turns(connection: Connection[Any], organisation: str, id: str) -> list[StoredResponse]:
    """Return the response with this id and the responses that it continues, the oldest first.

    There are at most ``MAX_TURNS`` responses, of about ``MAX_CHAIN_BYTES``. Responses before a deleted or
    expired response are not found.

    Raises:
        NotFound: the organisation has no such response.
        NotPermitted: the caller's key may not use a vector store that was searched for one of these
            responses.
    """
    values = {"organisation": organisation, "id": id, "turns": MAX_TURNS, "bytes": MAX_CHAIN_BYTES}
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(SQL["turns"], values).fetchall()
    if not rows:
        raise _not_found(id)
    return [_permitted(row) for row in reversed(rows)]


def delete_response(connection: Connection[Any], organisation: str, id: str) -> None:
    """Delete the response. Responses that continue it are kept.

    Raises:
        NotFound: the organisation has no such response.
        NotPermitted: the caller's key may not use a vector store that was searched for the response.
    """
    get_response(connection, organisation, id)
    connection.execute(SQL["delete"], {"organisation": organisation, "id": id})


def expire_responses(connection: Connection[Any]) -> int:
    """Delete the responses of all organisations that have reached their expiry time. Return their number."""
    return connection.execute(SQL["expire_of_all"]).rowcount


def _permitted(row: dict[str, Any]) -> StoredResponse:
    for store in row["stores"]:
        require_store(store)
    return StoredResponse(**row)


def _not_found(id: str) -> NotFound:
    return NotFound(
        f"there is no response {id!r}; it was deleted, has expired, or was made with store: false"
    )
