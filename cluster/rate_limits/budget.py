"""Shares a provider's rate limits between all processes of the cluster.

Replicas, workers and bulk jobs that call the same provider open a budget with the same name. The budget is
held in Postgres. It keeps the calls below every limit in every window of time, even if the provider counts
the calls when they arrive. Organisations get fair shares of the budget, and urgent claims go first.

    budget = SharedBudget(pool, "openai:small", {"requests": (3_000, 60), "tokens": (1_000_000, 60)})
    with budget.acquire({"requests": 1, "tokens": 5_000}, organisation="acme", timeout_s=30) as grant:
        answer = client.embeddings.create(...)
        grant.settle({"tokens": answer.usage.total_tokens})

A thread calls ``acquire``, and a coroutine calls ``acquire_async``. Call neither function while you hold a
connection of the pool. docs/decisions/030-one-budget-for-the-cluster.md has the reasons and measurements.
"""

import asyncio
import time
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Self
from uuid import uuid4

from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.database.queries import queries
from cluster.errors import InvalidInput, Throttled

#: Number of parts into which a window is divided. Usage is summed up for each part, so a used amount may
#: count for up to one part longer than the window.
SLOTS = 100
SLOT_END = (
    f"to_timestamp(ceil(extract(epoch FROM at)::float8 * {SLOTS} / part.window_s) * part.window_s / {SLOTS})"
)
SQL = {
    name: text.replace("{counts_until}", f"{SLOT_END} + part.window_s * interval '1 second'").replace(
        "{slot_end}", SLOT_END
    )
    for name, text in queries("cluster.rate_limits", "budget.sql").items()
}
#: While urgent claims and other claims wait, the urgent claims get up to this many times as much as the other
#: claims.
URGENT_SHARE = 9
#: Grants are spread over the window, because otherwise the first caller would use up the whole window, and an
#: urgent claim would have to wait for the end of the window. ``BURST`` is the part of a limit that may be
#: granted in one moment. ``PACE`` is the speed of further grants, as a multiple of the average speed.
#: ``PACE`` is above 1, so that callers can still use room that was left unused.
BURST, PACE = 0.05, 1.1
#: Seconds for which a grant counts as in use if its process does not settle the grant. This has to be longer
#: than the time limit of a call.
LEASE_S = 120.0
#: Seconds after which a waiting process counts as lost, if it does not ask again and does not take its
#: offered grant.
SEEN_S = 5.0
#: Minimum and maximum seconds between two queries with which a waiting process asks for its grant. Short
#: windows have a lower maximum.
SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.002, 1.0
#: Maximum pause that a provider can ask for, in seconds.
LONGEST_PAUSE_S = 86_400.0
#: Amounts of resources, by name.
Amounts = Mapping[str, int]


class Grant:
    """A part of a budget that one call to the provider may use.

    At the end of a ``with`` block, the grant is settled with its whole amounts, unless it is settled already.
    """

    def __init__(self, budget: "SharedBudget", id: str, amounts: Amounts, *, urgent: bool) -> None:
        self._budget = budget
        self._id = id
        #: The granted amounts, by resource.
        self.amounts = amounts
        self._urgent = urgent
        self._settled = False

    def settle(self, used: Amounts = MappingProxyType({})) -> None:
        """Record that the provider has answered, and return the unused rest of the grant to the budget. Later
        calls do nothing.

        If the call was surely not sent, return the whole grant: ``settle({"requests": 0, "tokens": 0})``.

        Args:
            used: the amounts that the provider counted; a missing resource counts with its granted amount.

        Raises:
            Unavailable: the database does not answer. The grant then ends with its lease.
        """
        if not self._settled:
            self._budget._settle(self._id, self.amounts, used, urgent=self._urgent)
            self._settled = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settle()


class SharedBudget:
    """Shares the rate limits of one provider between all processes that open a budget with the same name.
    Safe to use from several threads.

    Args:
        pool: connections to the database.
        name: names the provider and, if an organisation brings its own key, the organisation.
        limits: for each resource, the amount that the provider allows, and the length of its window in
            seconds.
        weights: shares of organisations that compete; an organisation without an entry has weight 1.
        lease_s: seconds after which a grant that was not settled ends. This has to be longer than a call
            takes.
        burst: part of a limit that may be granted in one moment, 0 to 1.

    Raises:
        InvalidInput: there is no limit, or a limit or its window is not greater than zero.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        name: str,
        limits: Mapping[str, tuple[int, float]],
        *,
        weights: Mapping[str, float] = MappingProxyType({}),
        lease_s: float = LEASE_S,
        burst: float = BURST,
    ) -> None:
        if not limits or any(most <= 0 or window_s <= 0 for most, window_s in limits.values()):
            raise InvalidInput(
                f"the limits of {name} are {dict(limits)}; each needs an amount and seconds above 0"
            )
        self.name = name
        self.limits = dict(limits)
        self._pool = pool
        self._longest_wait_s = min(LONGEST_WAIT_S, min(window_s for _, window_s in limits.values()) / 20)
        self._common = {
            "budget": name,
            "all_resources": list(limits),
            "all_limits": [float(most) for most, _ in limits.values()],
            "all_windows": [float(window_s) for _, window_s in limits.values()],
            "weights": Jsonb(dict(weights)),
            "urgent_share": float(URGENT_SHARE),
            "burst": float(burst),
            "pace": PACE,
            "seen_s": SEEN_S,
            "offer_s": SEEN_S,
            "lease_s": float(lease_s),
        }

    def acquire(
        self, amounts: Amounts, *, organisation: str, urgent: bool = False, timeout_s: float
    ) -> Grant:
        """Wait until the budget has room for the amounts, and take the amounts from the budget.

        Args:
            amounts: the amount that the call needs, for at least one resource of the budget.
            organisation: the organisation whose share of the budget is used.
            urgent: True if a person waits for the answer.
            timeout_s: maximum seconds to wait.

        Raises:
            Throttled: there is no room within ``timeout_s``. The error is raised as soon as this is known.
            InvalidInput: an amount is negative, is greater than its limit, or belongs to no resource of the
                budget.
            Unavailable: the database does not answer.
        """
        claim = _Claim(self, amounts, organisation, urgent, timeout_s)
        try:
            while (wait_s := claim.ask()) is not None:
                time.sleep(wait_s)
        except BaseException:
            claim.withdraw()
            raise
        return claim.grant

    async def acquire_async(
        self, amounts: Amounts, *, organisation: str, urgent: bool = False, timeout_s: float
    ) -> Grant:
        """Do the same as ``acquire``, but without blocking the event loop. If the caller is cancelled, its
        claim is withdrawn.
        """
        claim = _Claim(self, amounts, organisation, urgent, timeout_s)
        try:
            while (wait_s := await asyncio.shield(asyncio.to_thread(claim.ask))) is not None:
                await asyncio.sleep(wait_s)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(claim.withdraw))
            raise
        return claim.grant

    def correct(self, *, remaining: Amounts, reset_s: Mapping[str, float] = MappingProxyType({})) -> None:
        """Reduce the room in the budget to what the provider's answer reports. This never adds room.

        Args:
            remaining: for each resource, the amount that the provider still allows.
            reset_s: for each resource, the seconds until the provider allows the whole amount again; for a
                missing resource, the length of its window counts.
        """
        told = {name: amount for name, amount in remaining.items() if name in self.limits}
        if not told:
            return
        values = {
            "resources": list(told),
            "limits": [float(self.limits[name][0]) for name in told],
            "windows": [float(self.limits[name][1]) for name in told],
            "remaining": [max(0.0, float(amount)) for amount in told.values()],
            "resets": [max(0.0, float(reset_s.get(name, self.limits[name][1]))) for name in told],
        }
        self._locked("correct", values=values)

    def pause(self, seconds: float) -> None:
        """Grant nothing to any process for this many seconds, because the provider asked for a pause
        (``Retry-After``). A pause is at most ``LONGEST_PAUSE_S`` long.
        """
        self._locked("pause", values={"seconds": min(max(0.0, seconds), LONGEST_PAUSE_S)})

    def _locked(self, *names: str, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Run the statements in a transaction that locks the budget, and return the row of the last
        statement.
        """
        return self._run("lock", *names, values={**self._common, **values})

    def _run(self, *names: str, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        # The statements are sent together with the commit, so a process that is stopped in between keeps no
        # lock.
        with translated(), self._pool.connection() as connection, connection.pipeline():
            with connection.transaction():
                connection.execute(SQL["settings"], prepare=True)
                for name in names:
                    last = connection.execute(SQL[name], values, prepare=True)
            return last.fetchone() if last.description else None

    def _settle(self, id: str, granted: Amounts, used: Amounts, *, urgent: bool) -> None:
        counted = {**granted, **used}
        unused = [float(amount - counted[name]) for name, amount in granted.items()]
        names = ["withdraw", "settle", *(["return_pace"] if any(unused) else [])]
        values = {
            "budget": self.name,
            "id": id,
            "urgent": urgent,
            "unused": unused,
            "limits": [float(self.limits[name][0]) for name in granted],
            "pace": PACE,
            **_lists(counted, self.limits),
        }
        self._run(*names, values=values)


class _Claim:
    """The claim of one caller of ``acquire``. It waits in the queue until it gets a grant."""

    def __init__(
        self, budget: SharedBudget, amounts: Amounts, organisation: str, urgent: bool, timeout_s: float
    ) -> None:
        _check(budget, amounts)
        self._budget = budget
        self._values = {
            **_lists(amounts, budget.limits),
            "id": uuid4().hex,
            "organisation": organisation,
            "urgent": urgent,
        }
        self._timeout_s = timeout_s
        self._ends = time.monotonic() + timeout_s
        self.grant = Grant(budget, self._values["id"], dict(amounts), urgent=urgent)

    def ask(self) -> float | None:
        """Ask the database for the grant. Return the seconds to wait before asking again; None if the claim
        has its grant.

        Raises:
            Throttled: there is no room within the time limit.
        """
        answer = self._budget._locked(
            "expire", "forget", "forget_turns", "claim", "allocate", values=self._values
        )
        held, wait_s = answer or (False, 0.0)
        if held:
            return None
        left_s = self._ends - time.monotonic()
        if wait_s > left_s or left_s <= 0:
            raise Throttled(
                f"the rate limit of {self._budget.name} has no room within {self._timeout_s:g} s; "
                f"try again in {max(wait_s, SHORTEST_WAIT_S):.1f} s",
                retry_after_s=max(wait_s, SHORTEST_WAIT_S),
            )
        return float(min(max(wait_s, SHORTEST_WAIT_S), self._budget._longest_wait_s, left_s))

    def withdraw(self) -> None:
        """Remove the claim from the queue. If the claim has an unused grant, the budget gets it back."""
        self._budget._run("withdraw", values={"budget": self._budget.name, "id": self._values["id"]})


def _check(budget: SharedBudget, amounts: Amounts) -> None:
    if unknown := amounts.keys() - budget.limits.keys():
        raise InvalidInput(f"{budget.name} has no limit for {', '.join(sorted(unknown))}")
    for name, amount in amounts.items():
        most, window_s = budget.limits[name]
        if not 0 <= amount <= most:
            raise InvalidInput(
                f"a call needs {amount:,} {name}, and {budget.name} allows {most:,} in {window_s:g} s; "
                "make the call smaller"
            )


def _lists(amounts: Amounts, limits: Mapping[str, tuple[int, float]]) -> dict[str, Any]:
    return {
        "resources": list(amounts),
        "amounts": [float(amount) for amount in amounts.values()],
        "windows": [float(limits[name][1]) for name in amounts],
    }
