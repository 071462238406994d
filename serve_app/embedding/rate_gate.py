"""The gate that keeps the rates of organisations and keys: requests a minute and tokens a minute.

``Service`` puts this gate into its ``Admission``, and ``edge.boundary`` adds the headers to every answer.

    gate = RateGate(LeasedRates(lambda: connect(settings)))
    gate.headers(caller)          # {"x-ratelimit-limit-requests": "600", ...}
"""

import math
from collections import Counter
from collections.abc import Iterator

from cluster.errors import InvalidInput, Throttled
from cluster.organisations.caller import Caller
from cluster.organisations.rates import Rates
from cluster.rate_limits.leased_rate import LeasedRate
from cluster.rate_limits.leased_rates import LeasedRates, RateExceeded
from serve_app.embedding.admission import REQUEST, CostlyWork

REQUESTS, TOKENS = "requests", "tokens"


class RateGate:
    """Admits work while its caller's rates have room.

    A request counts as soon as it is admitted, even if it fails later. Tokens count when the model is about
    to read them.

    Args:
        rates: keeps the rates together with the other replicas.
    """

    def __init__(self, rates: LeasedRates) -> None:
        self._rates = rates
        #: Number of refusals by this replica, by what was refused: requests or tokens.
        self.refused: Counter[str] = Counter()

    def concerns(self, caller: Caller) -> bool:
        """Return True if the caller has rates."""
        return bool(caller.rates)

    async def admit(self, work: CostlyWork) -> None:
        """Take the work from the rates of its caller.

        Raises:
            InvalidInput: the work has more tokens than are ever allowed in a minute.
            Throttled: a rate has no room now.
        """
        unit, amount = (REQUESTS, 1) if work.kind == REQUEST else (TOKENS, work.tokens + work.output_tokens)
        taken = [(owner, rate) for owner, rate in self._of(work.caller, unit) if amount]
        for owner, rate in taken:
            if amount > rate.limit:
                lower = ", or a lower max_tokens" if work.output_tokens else ""
                raise InvalidInput(
                    f"the request has {amount:,} tokens, and {owner.owner} may use at most {rate.limit:,} "
                    f"tokens a minute (tokens_per_minute); send fewer or shorter inputs{lower}"
                )
        needs = [(rate, amount) for _, rate in taken]
        if work.kind == REQUEST:  # the headers of the answer show the tokens, too
            needs += [(rate, 0) for _, rate in self._of(work.caller, TOKENS)]
        try:
            await self._rates.take(needs)
        except RateExceeded as exc:
            self.refused[unit] += 1
            owner = next(owner for owner, rate in taken if rate is exc.rate)
            raise _refusal(owner, exc, unit, self._rates.remaining(exc.rate)[0]) from exc

    def headers(self, caller: Caller) -> dict[str, str]:
        """Return OpenAI's headers for an answer to the caller. If the caller has several rates of one unit,
        the headers show the rate of which the smallest amount remains.
        """
        headers: dict[str, str] = {}
        for unit in (REQUESTS, TOKENS):
            states = [(*self._rates.remaining(rate), rate.limit) for _, rate in self._of(caller, unit)]
            if states:
                remaining, reset_s, limit = min(states)
                headers[f"x-ratelimit-limit-{unit}"] = str(limit)
                headers[f"x-ratelimit-remaining-{unit}"] = str(remaining)
                headers[f"x-ratelimit-reset-{unit}"] = duration(reset_s)
        return headers

    @property
    def keeps_rates_alone(self) -> bool:
        """True while this replica keeps the rates alone, because Postgres does not answer."""
        return self._rates.alone

    def close(self) -> None:
        """Return what this replica holds of the rates."""
        self._rates.close()

    def _of(self, caller: Caller, unit: str) -> Iterator[tuple[Rates, LeasedRate]]:
        for owner in caller.rates:
            limit = owner.requests if unit == REQUESTS else owner.tokens
            if limit is not None:
                yield owner, self._rates.rate(f"{owner.name}/{unit}", limit)


def duration(seconds: float) -> str:
    """Return the duration as OpenAI's headers write it, such as ``6m0s``, ``1.5s`` or ``20ms``.

    The format is that of ``time.Duration`` in Go, rounded up to a millisecond.
    """
    milliseconds = math.ceil(seconds * 1_000)
    if milliseconds < 1_000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1_000:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{minutes}m{text}" if minutes else text


def _refusal(owner: Rates, exc: RateExceeded, unit: str, remaining: int) -> Throttled:
    wait_s = exc.retry_after_s or 0.0
    return Throttled(
        f"Rate limit reached for {unit} a minute of {owner.owner}: limit {exc.rate.limit:,} "
        f"({unit}_per_minute), remaining {remaining:,}, requested {exc.amount:,}; send the request again in "
        f"{wait_s:.1f} s",
        retry_after_s=wait_s,
    )
