"""Finds the caller of a request by its API key, with a copy of all keys in the memory of the process.

Each replica has one ``KnownKeys``. A thread reads the changed keys and organisations from the database twice
a second, on its own connection. So a revoked key stops working within a second, and no request with a known
key waits for the database. An unknown key may be a new key. So for a request with an unknown key, the thread
reads the changes immediately, but at most 20 times a second. While the database does not answer, known keys
continue to work for ``KNOWN_FOR_S`` seconds.

    keys = KnownKeys(settings, open_database=lambda: ...)
    keys.start()
    caller = await keys.identify(b"ec-...", None)
"""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from hmac import compare_digest
from typing import Any

import psycopg
import structlog
from psycopg import Connection

from cluster.database import connect, for_all_organisations
from cluster.errors import ClusterError, NotAuthenticated, NotFound, Unavailable
from cluster.keys.key_text import hash_of, may_be_a_key
from cluster.keys.known_access import NOTHING_KNOWN, SQL, KnownAccess, KnownKey, with_changes
from cluster.organisations.caller import Caller, CallerKind
from cluster.organisations.rates import Rates
from cluster.settings import Settings

log = structlog.get_logger(__name__)

#: Seconds between two reads of the changes from the database.
POLL_S = 0.5
#: Minimum seconds between two reads of the changes, if requests with unknown keys ask for the changes.
MIN_POLL_S = 0.05
#: While the database does not answer, keys continue to work for this many seconds after the last successful
#: read of the changes.
KNOWN_FOR_S = 300.0
#: Maximum seconds that a request waits until the process has read the keys for the first time.
FIRST_READ_S = 5.0
#: Maximum seconds that a request with an unknown key waits until the changes are read again.
READ_S = 1.0
#: Minimum seconds between two records of the use of one key.
USE_INTERVAL_S = 60.0
#: The address from which a request came, and the id of the request.
Origin = tuple[str | None, str | None]
SEND_KEY = "send it as 'Authorization: Bearer KEY'"


@dataclass(slots=True)
class _Reads:
    """Counts reads of the changes, so that a request can wait for a read that begins after the request."""

    begun: int = 0
    done: int = 0
    #: Time of the last successful read, on the clock ``time.monotonic``.
    at: float = field(default=float("-inf"))


class KnownKeys:
    """Finds the caller of each request. ``identify`` is called on the event loop.

    Args:
        settings: the settings with the operator's key, the default organisation and the database.
        open_database: a function that starts or migrates the database if needed. The thread calls the
            function before the first read.
        keyless: False if requests without a key are refused even while no key exists. They are also refused
            if the settings have an operator's key or an issuer of tokens.
    """

    def __init__(
        self, settings: Settings, *, open_database: Callable[[], object], keyless: bool = True
    ) -> None:
        operator = settings.api_key
        self._settings = settings
        self._operator = None if operator is None else hash_of(operator.get_secret_value().encode())
        self._keyless = keyless and operator is None and settings.oidc_issuer is None
        self._open_database = open_database
        self._known: KnownAccess | None = None
        self._reads = _Reads()
        #: The uses to record: (organisation, key) -> seconds since 1970.
        self._uses: dict[tuple[str, str], float] = {}
        #: Weights of organisations, by id. The dispatchers of the models read this mapping.
        self.weights: dict[str, float] = dict(settings.organisation_weights)
        self._wake, self._stop = threading.Event(), threading.Event()
        #: Held while the thread is started, and while ``_uses`` is changed or replaced.
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def has_stops(self, organisation: str) -> bool:
        """Return True if the organisation has a budget that refuses work. The answer is from memory."""
        return self._known is not None and organisation in self._known.stopped

    def start(self) -> None:
        """Start the thread that reads the keys, unless the thread was started before."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._poll, name="known-keys", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Record the last uses and stop the thread."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    async def identify(
        self,
        key: bytes | None,
        organisation: str | None,
        *,
        address: str | None = None,
        request: str | None = None,
    ) -> Caller:
        """Return the caller with this key.

        Args:
            key: the key as it was sent; None or empty: the request has no key.
            organisation: the organisation that the request names; None: the request names no organisation.
            address: the address from which the request came; None: unknown.
            request: the id of the request; None: the request has no id.

        Raises:
            NotAuthenticated: the key is missing, unknown, expired or revoked, or belongs to another
                organisation than the request names.
            NotFound: the caller operates the cluster, and the organisation does not exist or is deleted.
            Unavailable: the database does not answer, so the cluster does not know if the key works.
        """
        digest = sha256(key).digest() if key else b""
        origin = address, request
        if self._operator is not None and compare_digest(digest, self._operator):
            return await self._operating(CallerKind.OPERATOR, organisation, origin)
        if self._operator is not None and not key:
            raise NotAuthenticated(f"The request carries no API key; {SEND_KEY}")
        known = (await self._read()).keys.get(digest)
        if known is None and key and may_be_a_key(key):
            known = (await self._read(again=True)).keys.get(digest)
        elif known is None and self._keyless and not (await self._read()).has_keys:
            return await self._operating(CallerKind.KEYLESS, organisation, origin)
        if known is None:
            problem = "The API key is not one of this server" if key else "The request carries no API key"
            raise NotAuthenticated(f"{problem}; {SEND_KEY}")
        return self._of_key(known, organisation, origin)

    async def rates_of(self, id: str) -> tuple[Rates, ...] | None:
        """Return the rates of an organisation, which may be empty. Return None if the organisation does not
        exist or is deleted.

        Raises:
            Unavailable: the database does not answer.
        """
        known = await self._read()
        if id not in known.organisations:
            known = await self._read(again=True)
        if known.organisations.get(id) is not False:
            return None
        rates = known.rates.get(id)
        return () if rates is None else (rates,)

    def _of_key(self, known: KnownKey, organisation: str | None, origin: Origin) -> Caller:
        now = time.time()
        if known.expires_at <= now:
            raise NotAuthenticated(f"The API key {known.id} has expired; send another key")
        if organisation and organisation != known.organisation:
            raise NotAuthenticated(
                f"The header OpenAI-Organization names {organisation!r}, and the API key {known.id} belongs "
                "to another organisation; leave out the header"
            )
        if now - known.used_at >= USE_INTERVAL_S:
            with self._lock:
                known.used_at = self._uses[known.organisation, known.id] = now
        return Caller(
            kind=CallerKind.KEY,
            id=known.id,
            organisation=known.organisation,
            scopes=known.scopes,
            models=known.models,
            stores=known.stores,
            rates=self._rates(known),
            address=origin[0],
            request=origin[1],
        )

    async def _operating(self, kind: CallerKind, organisation: str | None, origin: Origin) -> Caller:
        """Return the caller that operates the cluster, acting for the organisation that the request names, or
        for the organisation in the settings.

        Raises:
            NotFound: the organisation does not exist or is deleted.
            Unavailable: as in ``_read``.
        """
        named = organisation or self._settings.organisation
        if organisation and organisation not in (await self._read()).organisations:
            await self._read(again=True)
        known = self._known
        deleted = None if known is None else known.organisations.get(named)
        if deleted or (organisation and deleted is None):
            raise NotFound(
                f"organisation {named!r} is deleted"
                if deleted
                else f"no organisation {named!r}; `python -m cluster.organisations create` creates one"
            )
        rates = None
        if kind is CallerKind.KEYLESS and known is not None:  # the operator has no rates
            rates = known.rates.get(named)
        return Caller(
            kind=kind,
            id=kind.value,
            organisation=named,
            rates=() if rates is None else (rates,),
            address=origin[0],
            request=origin[1],
        )

    def _rates(self, key: KnownKey) -> tuple[Rates, ...]:
        of_organisation = None if self._known is None else self._known.rates.get(key.organisation)
        if of_organisation is None:
            return () if key.rates is None else (key.rates,)
        return (of_organisation,) if key.rates is None else (of_organisation, key.rates)

    async def _read(self, *, again: bool = False) -> KnownAccess:
        """Return the keys and organisations in memory. If ``again`` is true, nothing was read yet, or the
        last read is ``KNOWN_FOR_S`` seconds old, wait until the thread has read the changes.

        Raises:
            Unavailable: the thread does not read the changes in time.
        """
        known = self._known
        if known is not None and not again and time.monotonic() - self._reads.at < KNOWN_FOR_S:
            return known
        self.start()
        wanted, first = self._reads.begun + 1, known is None
        deadline = time.monotonic() + (FIRST_READ_S if first else READ_S)
        self._wake.set()
        while self._reads.done < (1 if first else wanted) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        if self._known is None or self._reads.done < (1 if first else wanted):
            raise Unavailable(
                "the database does not answer, so it is not known if this API key works; send the request "
                "again",
                retry_after_s=1.0,
            )
        return self._known

    def _poll(self) -> None:
        with for_all_organisations():
            self._poll_keys()

    def _poll_keys(self) -> None:
        connection: Connection[Any] | None = None
        failing = False
        while not self._stop.is_set():
            self._wake.clear()
            began = time.monotonic()
            try:
                if connection is None:
                    if self._known is None:
                        self._open_database()
                    connection = connect(self._settings)
                self._read_changes(connection, everything=failing)
                failing = False
            except (psycopg.Error, ClusterError) as exc:
                if not failing:
                    log.warning("keys_not_read", reason=str(exc), known_for_s=KNOWN_FOR_S)
                failing = True
                if connection is not None:
                    connection.close()
                    connection = None
            self._stop.wait(POLL_S if failing else MIN_POLL_S)
            self._wake.wait(max(0.0, began + POLL_S - time.monotonic()))
        if connection is not None:
            with suppress(psycopg.Error):
                self._record_uses(connection)
            connection.close()

    def _read_changes(self, connection: Connection[Any], *, everything: bool) -> None:
        """Read the changes since the last read, and record the uses of keys.

        Args:
            everything: True to read all keys again after a failure, because a database that was restored from
                a backup may have lost changes.
        """
        self._reads.begun += 1
        number = self._reads.begun
        row = connection.execute(SQL["state"]).fetchone()
        assert row is not None
        version, has_keys = row
        known = self._known
        if known is None or everything or version < known.version:
            known = NOTHING_KNOWN
            self._say_how_requests_are_identified(has_keys)
        if version != known.version or has_keys != known.has_keys:
            known = with_changes(connection, known, version, has_keys=has_keys, settings=self._settings)
            self.weights.update(known.weights)
        self._known = known
        self._reads.at, self._reads.done = time.monotonic(), number
        self._record_uses(connection)

    def _record_uses(self, connection: Connection[Any]) -> None:
        if not self._uses:
            return
        with self._lock:
            uses, self._uses = self._uses, {}
        values = [
            {"organisation": organisation, "id": id, "at": datetime.fromtimestamp(at, UTC)}
            for (organisation, id), at in uses.items()
        ]
        connection.cursor().executemany(SQL["used"], values)

    def _say_how_requests_are_identified(self, has_keys: bool) -> None:
        if self._keyless and not has_keys:
            log.info(
                "requests_need_no_key",
                organisation=self._settings.organisation,
                reason="CLUSTER_API_KEY is unset, no organisation has a key, and only this machine can "
                "connect; every request acts for this organisation",
            )
