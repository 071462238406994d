"""A key is shown once, stored as a hash, and every change to it is in the audit log."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.errors import Conflict, InvalidInput, NotFound
from cluster.keys import api_keys
from cluster.keys.api_keys import NewKey, create_key, list_keys, revoke_key, rotate_key
from cluster.keys.key_text import KEY, hash_of, may_be_a_key, new_key_text
from cluster.organisations.audit import list_events
from cluster.organisations.caller import Caller, CallerKind, Scope, acting_as
from tests.conftest import new_organisation

NEW = NewKey(name="ci", scopes=frozenset({Scope.READ}), models=("m",))
CALLER = Caller(kind=CallerKind.KEY, id="key_admin", address="192.0.2.1", request="req_1")


@pytest.fixture
def owner(keyed_pool: ConnectionPool) -> str:
    """An organisation of the database with keys."""
    return new_organisation(keyed_pool)


@pytest.fixture
def database(keyed_pool: ConnectionPool) -> Any:
    """A connection to the database with keys."""
    with keyed_pool.connection() as connection:
        yield connection


def stored(connection: Connection[Any]) -> str:
    """Everything in the tables that a key could be in."""
    rows = [
        connection.execute(f"SELECT {table}::text FROM {table}").fetchall()
        for table in ("api_keys", "audit_events")
    ]
    return repr(rows)


def test_only_the_hash_of_a_new_key_is_stored(database: Connection[Any], owner: str) -> None:
    issued = create_key(database, owner, NEW)
    secret = issued.text.split("-", 2)[2]
    assert KEY.fullmatch(issued.text.encode())
    assert secret not in stored(database)
    assert hash_of(issued.text.encode()).hex() in stored(database)
    assert secret not in repr(issued)
    assert issued.text.startswith(issued.key.prefix)


def test_a_key_has_256_random_bits_and_a_checksum() -> None:
    texts = {new_key_text() for _ in range(200)}
    assert len(texts) == 200
    for text in texts:
        assert may_be_a_key(text.encode())
        other = "A" if text[20] != "A" else "B"
        assert not may_be_a_key(f"{text[:20]}{other}{text[21:]}".encode())


def test_a_rotated_key_ends_after_its_overlap_and_its_successor_is_equal(
    database: Connection[Any], owner: str
) -> None:
    first = create_key(database, owner, NEW).key
    second = rotate_key(database, owner, first.id, overlap_s=3_600).key
    ending = api_keys.get_key(database, owner, first.id)
    assert (ending.status, second.models, second.scopes) == ("active", first.models, first.scopes)
    assert ending.expires_at is not None
    assert timedelta() < ending.expires_at - datetime.now(UTC) <= timedelta(hours=1)
    third = rotate_key(database, owner, second.id).key
    assert [key.id for key in list_keys(database, owner).items] == [third.id, second.id, first.id]
    assert api_keys.get_key(database, owner, second.id).status == "revoked"
    with pytest.raises(Conflict, match="revoked"):
        rotate_key(database, owner, second.id)


def test_every_change_is_in_the_audit_log_with_its_caller(database: Connection[Any], owner: str) -> None:
    with acting_as(CALLER):
        key = create_key(database, owner, NEW).key
        new = rotate_key(database, owner, key.id, overlap_s=60).key
        revoke_key(database, owner, new.id)
        revoke_key(database, owner, new.id)  # changes nothing, so it is not recorded
    events = list_events(database, owner).items
    assert [(event.type, event.target) for event in events] == [
        ("api_key.revoked", new.id),
        ("api_key.rotated", key.id),
        ("api_key.created", key.id),
    ]
    assert {(event.actor_kind, event.actor, event.address, event.request) for event in events} == {
        ("key", "key_admin", "192.0.2.1", "req_1")
    }


@pytest.mark.parametrize("statement", ["UPDATE audit_events SET actor = 'x'", "DELETE FROM audit_events"])
def test_the_audit_log_is_append_only(database: Connection[Any], statement: str) -> None:
    with pytest.raises(Exception, match="append-only"):
        database.execute(statement)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": ""}, InvalidInput),
        ({"name": "a\nb"}, InvalidInput),
        ({"scopes": frozenset()}, InvalidInput),
        ({"models": ()}, InvalidInput),
        ({"scopes": frozenset({Scope.ADMIN})}, InvalidInput),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, InvalidInput),
        ({"stores": ("vs_of_another",)}, NotFound),
    ],
)
def test_a_key_that_would_allow_too_much_or_nothing_is_refused(
    database: Connection[Any], owner: str, changes: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        create_key(database, owner, replace(NEW, **changes))


def test_another_organisation_has_no_such_key(
    database: Connection[Any], owner: str, keyed_pool: ConnectionPool
) -> None:
    key = create_key(database, owner, NEW).key
    database.commit()
    other = new_organisation(keyed_pool)
    for attempt in (revoke_key, rotate_key, api_keys.get_key):
        with pytest.raises(NotFound):
            attempt(database, other, key.id)
    assert list_keys(database, other).items == []
