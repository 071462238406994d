"""A replica finds the caller of a request in memory, and learns of changes within a second."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg_pool import ConnectionPool
from pydantic import SecretStr
from structlog.testing import capture_logs

from cluster.errors import NotAuthenticated, NotFound, Unavailable
from cluster.keys import api_keys, known_keys
from cluster.keys.api_keys import IssuedKey, NewKey
from cluster.keys.key_text import new_key_text
from cluster.keys.known_keys import KnownKeys
from cluster.organisations.caller import CallerKind, Scope
from cluster.settings import Settings
from tests.conftest import new_organisation
from tests.waiting import LONGEST_WAIT_S, Stopwatch

OPERATOR = "sk-of-the-operator"
NEW = NewKey(name="ci", scopes=frozenset({Scope.READ}))


@pytest.fixture
async def keys(keyed: Settings, keyed_pool: ConnectionPool) -> AsyncIterator[KnownKeys]:
    """The keys of a replica with an operator's key."""
    del keyed_pool  # it has migrated the database
    keys = KnownKeys(keyed.model_copy(update={"api_key": SecretStr(OPERATOR)}), open_database=lambda: None)
    yield keys
    keys.close()


def made(pool: ConnectionPool, owner: str, new: NewKey = NEW) -> IssuedKey:
    """A new key."""
    with pool.connection() as connection:
        return api_keys.create_key(connection, owner, new)


async def test_a_new_key_works_at_once_and_a_revoked_key_stops_within_a_second(
    keys: KnownKeys, keyed_pool: ConnectionPool
) -> None:
    owner = new_organisation(keyed_pool)
    await keys.identify(OPERATOR.encode(), None)
    issued = made(keyed_pool, owner)
    caller = await keys.identify(issued.text.encode(), None)
    assert (caller.kind, caller.id, caller.organisation) == (CallerKind.KEY, issued.key.id, owner)
    assert caller.scopes == {Scope.READ}
    with keyed_pool.connection() as connection:
        api_keys.revoke_key(connection, owner, issued.key.id)
    revoked = Stopwatch()
    while await accepts(keys, issued.text):
        assert time.monotonic() < revoked.began + LONGEST_WAIT_S
        await asyncio.sleep(0.01)
    assert revoked.seconds() < 1.0


async def accepts(keys: KnownKeys, text: str) -> bool:
    """True if the key identifies a caller."""
    try:
        await keys.identify(text.encode(), None)
    except NotAuthenticated:
        return False
    return True


async def test_unknown_keys_cost_no_database_and_stay_nowhere(
    keys: KnownKeys, keyed_pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text without our checksum is refused in memory. A guess with a checksum waits for a shared read."""
    await keys.identify(made(keyed_pool, new_organisation(keyed_pool)).text.encode(), None)
    began, on_processor, reads = time.monotonic(), time.thread_time(), keys._reads.begun
    size = len(keys._known.keys)  # type: ignore[union-attr]
    for number in range(2_000):
        with pytest.raises(NotAuthenticated):
            await keys.identify(b"ec-guess-%d" % number, None)
    assert time.thread_time() - on_processor < 1.0
    guesses = [keys.identify(new_key_text().encode(), None) for _ in range(500)]
    outcomes = await asyncio.gather(*guesses, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {NotAuthenticated}
    elapsed = time.monotonic() - began
    assert keys._reads.begun - reads <= 2 + elapsed / known_keys.MIN_POLL_S
    assert len(keys._known.keys) == size  # type: ignore[union-attr]


async def test_the_operator_acts_for_any_organisation_and_a_key_for_its_own(
    keys: KnownKeys, keyed: Settings, keyed_pool: ConnectionPool
) -> None:
    owner, operator = new_organisation(keyed_pool), OPERATOR.encode()
    assert (await keys.identify(operator, None)).organisation == keyed.organisation
    assert (await keys.identify(operator, owner)).organisation == owner
    with pytest.raises(NotFound, match="nowhere"):
        await keys.identify(operator, "nowhere")
    key = made(keyed_pool, owner).text.encode()
    assert (await keys.identify(key, owner)).organisation == owner
    with pytest.raises(NotAuthenticated, match="another organisation"):
        await keys.identify(key, keyed.organisation)


async def test_an_expired_key_is_refused(keys: KnownKeys, keyed_pool: ConnectionPool) -> None:
    soon = replace(NEW, expires_at=datetime.now(UTC) + timedelta(seconds=1))
    key = made(keyed_pool, new_organisation(keyed_pool), soon).text.encode()
    await keys.identify(key, None)
    await asyncio.sleep(1)
    with pytest.raises(NotAuthenticated, match="expired"):
        await keys.identify(key, None)


async def test_while_the_database_is_away_known_keys_work_for_a_bounded_time(
    keys: KnownKeys, keyed_pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = made(keyed_pool, new_organisation(keyed_pool)).text.encode()
    await keys.identify(known, None)

    def no_answer(*_: Any, **__: Any) -> None:
        raise Unavailable("the database is away")

    monkeypatch.setattr(known_keys, "READ_S", 0.2)
    monkeypatch.setattr(KnownKeys, "_read_changes", no_answer)
    await asyncio.sleep(0.1)
    assert (await keys.identify(known, None)).kind is CallerKind.KEY
    with pytest.raises(Unavailable):  # it may be a key that was created meanwhile
        await keys.identify(new_key_text().encode(), None)
    monkeypatch.setattr(known_keys, "KNOWN_FOR_S", 0.0)
    with pytest.raises(Unavailable):
        await keys.identify(known, None)
    assert (await keys.identify(OPERATOR.encode(), None)).kind is CallerKind.OPERATOR


async def test_a_use_is_recorded_off_the_request_and_once_a_minute(
    keys: KnownKeys, keyed_pool: ConnectionPool
) -> None:
    owner = new_organisation(keyed_pool)
    issued = made(keyed_pool, owner)

    async def used() -> datetime | None:
        """The recorded time, after two reads."""
        for _ in range(2):
            with pytest.raises(NotAuthenticated):
                await keys.identify(new_key_text().encode(), None)
        with keyed_pool.connection() as connection:
            return api_keys.get_key(connection, owner, issued.key.id).last_used_at

    await keys.identify(issued.text.encode(), None)
    first = await used()
    assert first is not None
    await keys.identify(issued.text.encode(), None)
    assert await used() == first


async def test_requests_need_no_key_only_while_none_exists_and_only_this_machine_connects(
    keyed: Settings, keyed_pool: ConnectionPool
) -> None:
    with keyed_pool.connection() as connection:
        connection.execute("DELETE FROM api_keys")
    laptop = KnownKeys(keyed, open_database=lambda: None)
    reachable = KnownKeys(keyed, open_database=lambda: None, keyless=False)
    try:
        with capture_logs() as lines:
            caller = await laptop.identify(b"none needed", None)
        assert [line["organisation"] for line in lines if line["event"] == "requests_need_no_key"] == [
            keyed.organisation
        ]
        assert (caller.kind, caller.organisation) == (CallerKind.KEYLESS, keyed.organisation)
        with pytest.raises(NotAuthenticated):
            await reachable.identify(b"none needed", None)
        with pytest.raises(NotAuthenticated):  # a revoked key never becomes a request without a key
            await laptop.identify(new_key_text().encode(), None)
        key = made(keyed_pool, new_organisation(keyed_pool)).text.encode()
        assert (await laptop.identify(key, None)).kind is CallerKind.KEY
        for missing in (None, b"none needed"):
            with pytest.raises(NotAuthenticated):
                await laptop.identify(missing, None)
    finally:
        laptop.close()
        reachable.close()


async def test_a_check_of_a_known_key_takes_less_than_a_fifth_of_a_millisecond(
    keys: KnownKeys, keyed_pool: ConnectionPool
) -> None:
    key = made(keyed_pool, new_organisation(keyed_pool)).text.encode()
    await keys.identify(key, None)
    times = []
    for _ in range(2_000):
        began = time.perf_counter()
        await keys.identify(key, None)
        times.append(time.perf_counter() - began)
    assert sorted(times)[len(times) // 2] < 0.0002
