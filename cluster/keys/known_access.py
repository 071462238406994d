"""The keys and organisations as one replica knows them, and the changes that it reads from the database.

``known_keys`` reads the changes twice a second.

    known = with_changes(connection, NOTHING_KNOWN, version, has_keys=True, settings=settings)
    known.keys[hash_of(b"ec-...")].organisation
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.organisations.caller import Scope
from cluster.organisations.rates import Rates
from cluster.settings import Settings

SQL = queries("cluster.keys", "known_keys.sql")


@dataclass(eq=False, slots=True)
class KnownKey:
    """One key in memory."""

    id: str
    organisation: str
    scopes: frozenset[Scope]
    models: frozenset[str] | None
    stores: frozenset[str] | None
    #: Time at which the key expires, in seconds since 1970; infinity if it does not expire.
    expires_at: float
    #: The key's own rates; None if it has none.
    rates: Rates | None
    #: Time of the last recorded use, in seconds since 1970.
    used_at: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownAccess:
    """All keys and organisations at one moment. A change makes a new object."""

    version: int
    #: False if the database has no keys.
    has_keys: bool
    keys: Mapping[bytes, KnownKey]
    #: For each organisation, True if it is deleted.
    organisations: Mapping[str, bool]
    #: The rates of organisations that have any, by the id of the organisation.
    rates: Mapping[str, Rates]
    #: The share of a model's time of each organisation, by the id of the organisation.
    weights: Mapping[str, float]
    #: Organisations with a budget that refuses work.
    stopped: frozenset[str]


NOTHING_KNOWN = KnownAccess(
    version=0, has_keys=False, keys={}, organisations={}, rates={}, weights={}, stopped=frozenset()
)


def with_changes(
    connection: Connection[Any], known: KnownAccess, version: int, *, has_keys: bool, settings: Settings
) -> KnownAccess:
    """Read what changed since the version of ``known``, and return the result.

    Args:
        version: the version in the database.
        has_keys: True if the database has keys.
        settings: the settings with the defaults of weights and rates.
    """
    since = {"version": known.version}
    keys, organisations = dict(known.keys), dict(known.organisations)
    rates, weights, stopped = dict(known.rates), dict(known.weights), set(known.stopped)
    for row in connection.execute(SQL["keys"], since):
        digest, id, organisation, scopes, models, stores, expires_at, requests, tokens, revoked = row
        if revoked:
            keys.pop(digest, None)
            continue
        keys[digest] = KnownKey(
            id=id,
            organisation=organisation,
            scopes=frozenset(map(Scope, scopes)),
            models=None if models is None else frozenset(models),
            stores=None if stores is None else frozenset(stores),
            expires_at=float("inf") if expires_at is None else expires_at.timestamp(),
            rates=Rates.of_key(organisation, id, requests=requests, tokens=tokens),
        )
    for id, deleted, weight, requests, tokens, stops in connection.execute(SQL["organisations"], since):
        organisations[id] = deleted
        (stopped.add if stops else stopped.discard)(id)
        weights[id] = weight or settings.organisation_weights.get(id, 1.0)
        rates.pop(id, None)
        if (of_organisation := _rates(settings, id, requests, tokens)) is not None:
            rates[id] = of_organisation
    gone = {id for id, deleted in organisations.items() if deleted}
    if gone:
        keys = {digest: key for digest, key in keys.items() if key.organisation not in gone}
    return KnownAccess(
        version=version,
        has_keys=has_keys,
        keys=keys,
        organisations=organisations,
        rates=rates,
        weights=weights,
        stopped=frozenset(stopped),
    )


def _rates(settings: Settings, organisation: str, requests: int | None, tokens: int | None) -> Rates | None:
    return Rates.of_organisation(
        organisation,
        requests=settings.organisation_requests_per_minute if requests is None else requests,
        tokens=settings.organisation_tokens_per_minute if tokens is None else tokens,
    )
