"""Stored responses form chains, expire, and go with the customer who asked."""

from typing import Any
from uuid import uuid4

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.errors import NotFound, NotPermitted
from cluster.organisations.caller import Caller, CallerKind, Scope, acting_as
from cluster.platform_data.erasure import erase_customer
from cluster.platform_data.ids import row_id
from cluster.platform_data.ingestion import ingest
from cluster.platform_data.read_events import read_events
from cluster.responses import (
    MAX_TURNS,
    StoredResponse,
    customer_of,
    delete_response,
    earlier_turns,
    expire_responses,
    get_response,
    new_response_id,
    store_response,
)
from tests.conftest import new_organisation


def chain(
    connection: Connection[Any], organisation: str, turns: int, *, customer: str | None = None
) -> list[str]:
    """Store responses of which each continues the one before, and return their ids in order."""
    ids: list[str] = []
    for turn in range(turns):
        response = StoredResponse(
            id=new_response_id(),
            previous=ids[-1] if ids else None,
            customer=customer,
            conversation=None,
            stores=["vs_1"],
            input=[{"role": "user", "content": f"question {turn}"}],
            response={"turn": turn},
        )
        store_response(connection, organisation, response)
        ids.append(response.id)
    return ids


def test_a_chain_is_read_from_its_beginning_and_ends_at_a_deleted_response(
    connection: Connection[Any], organisation: str
) -> None:
    ids = chain(connection, organisation, MAX_TURNS + 2)
    turns = earlier_turns(connection, organisation, ids[3])
    assert [turn.response["turn"] for turn in turns] == [0, 1, 2, 3]
    assert len(earlier_turns(connection, organisation, ids[-1])) == MAX_TURNS
    delete_response(connection, organisation, ids[1])
    assert [turn.id for turn in earlier_turns(connection, organisation, ids[3])] == ids[2:4]
    for gone in (ids[1], "resp_0"):
        with pytest.raises(NotFound, match=f"no response '{gone}'"):
            earlier_turns(connection, organisation, gone)


def test_no_response_is_reached_from_another_organisation(
    pool: ConnectionPool, connection: Connection[Any], organisation: str
) -> None:
    (id,) = chain(connection, organisation, 1)
    stranger = new_organisation(pool)
    for work in (get_response, earlier_turns, delete_response):
        with pytest.raises(NotFound):
            work(connection, stranger, id)
    assert get_response(connection, organisation, id).response == {"turn": 0}


def test_a_key_reads_only_responses_from_its_stores(connection: Connection[Any], organisation: str) -> None:
    (id,) = chain(connection, organisation, 1)
    caller = Caller(
        organisation=organisation,
        kind=CallerKind.KEY,
        id="key_1",
        scopes=frozenset({Scope.READ}),
        stores=frozenset({"vs_2"}),
    )
    with acting_as(caller):
        for work in (get_response, earlier_turns, delete_response):
            with pytest.raises(NotPermitted, match="vs_1"):
                work(connection, organisation, id)
    assert get_response(connection, organisation, id).stores == ["vs_1"]


def test_an_expired_response_is_gone_before_and_after_it_is_deleted(
    connection: Connection[Any], organisation: str
) -> None:
    ids = chain(connection, organisation, 2)
    connection.execute("UPDATE responses SET expires_at = now() WHERE id = %s", [ids[0]])
    with pytest.raises(NotFound):
        get_response(connection, organisation, ids[0])
    assert [turn.id for turn in earlier_turns(connection, organisation, ids[1])] == [ids[1]]
    assert expire_responses(connection) == 1
    left = connection.execute("SELECT id FROM responses WHERE organisation = %s", [organisation]).fetchall()
    assert left == [(ids[1],)]


def test_the_erasure_of_a_customer_deletes_every_response_to_the_customer(
    connection: Connection[Any], organisation: str
) -> None:
    external = uuid4().hex
    event = {"id": "1", "source": "/shop", "type": "conversation.started", "time": "2026-03-01T10:00:00Z"}
    events, _ = read_events(
        organisation, [{**event, "subject": external, "data": {"conversation_id": "theirs"}}]
    )
    with connection.transaction():
        ingest(connection, organisation, events)
        customers = [
            customer_of(connection, organisation, user=user, previous=None, conversation=conversation)
            for user, conversation in (
                (external, None),
                (None, "theirs"),
                (None, "other"),
                ("new", "theirs"),
                (None, None),
            )
        ]
        id, new = (row_id("cust", organisation, one) for one in (external, "new"))
        assert customers == [id, id, None, new, None]
        (first,) = chain(connection, organisation, 1, customer=id)
        previous = get_response(connection, organisation, first)
        assert customer_of(connection, organisation, user=None, previous=previous, conversation=None) == id
        (kept,) = chain(connection, organisation, 1, customer=new)
        erasure = erase_customer(connection, organisation, id)
    assert erasure is not None
    assert (erasure.deleted["responses"], erasure.remaining["responses"]) == (1, 0)
    assert get_response(connection, organisation, kept).customer == new
