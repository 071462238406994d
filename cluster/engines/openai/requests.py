"""Send one request for embeddings: within the rate limits, through the circuit breaker, with retries.

Callers do not repeat a failed request immediately, because this module has already repeated the request. A
caller that gets ``Throttled`` or ``ProviderUnavailable`` first waits.

    requests = EmbeddingRequests(entry, fingerprint, tokeniser, pool)
    vectors = await requests.send(batch, organisation="acme", urgent=False)
"""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import numpy as np
import openai
import structlog
from numpy.typing import NDArray
from psycopg_pool import ConnectionPool

from cluster.engines.contract import Fingerprint, ModelEntry
from cluster.engines.openai.accounts import REQUEST_TIMEOUT_S, Account, Accounts
from cluster.engines.openai.answers import BadAnswer, read_answer, read_usage
from cluster.engines.openai.errors import remaining, translated
from cluster.engines.openai.known_models import shortening
from cluster.engines.openai.ledger import Ledger
from cluster.engines.tokens.cl100k import Cl100kTokeniser
from cluster.errors import ClusterError, Retryable, Throttled
from cluster.rate_limits import Grant, SharedBreaker
from cluster.retrying import Backoff

log = structlog.get_logger(__name__)

#: Maximum number of retries after the first attempt.
MAX_RETRIES = 5
#: Waits between the attempts, with full jitter.
BACKOFF = Backoff(first_s=0.5, longest_s=8.0, jitter=True)
#: Maximum seconds for which a request waits if the provider asks for a pause. If the provider asks for a
#: longer pause, the caller gets the error and has to call again after the pause.
LONGEST_PAUSE_S = 10.0
#: Maximum seconds that a request waits for room in the budget. If the wait would be longer, the caller gets
#: ``Throttled`` immediately. A job then shows that it waits for the provider, and when the wait ends.
BUDGET_TIMEOUT_S = 20.0
#: Seconds to wait after a ``Retryable`` error that names no time.
AWAY_S = 5.0
#: The budget is corrected if the provider reports that less than this share of a limit is left.
NEARLY_USED_UP = 0.5
#: Text that replaces an empty text, because the provider refuses an empty text.
BLANK = " "

Ids = NDArray[np.int32]
Vectors = NDArray[np.float32]


class EmbeddingRequests:
    """Sends the requests of one model. Its coroutines run on one event loop.

    Args:
        entry: the model.
        fingerprint: the fingerprint of the model.
        tokeniser: the tokeniser of the model, which turns ids back into text.
        pool: the pool of connections to the database; ``close`` closes the pool.
    """

    def __init__(
        self, entry: ModelEntry, fingerprint: Fingerprint, tokeniser: Cl100kTokeniser, pool: ConnectionPool
    ) -> None:
        self._entry = entry
        self._dim = fingerprint.dim
        self._tokeniser = tokeniser
        self._pool = pool
        self._accounts = Accounts(entry, pool)
        self._breaker = SharedBreaker(pool, f"openai:{entry.name}")
        self._ledger = Ledger(
            pool, entry.name, price_per_million_tokens=entry.options.price_per_million_tokens
        )
        self._options: dict[str, Any] = dict(shortening(entry.source, self._dim))

    async def send(self, batch: Sequence[Ids], *, organisation: str, urgent: bool) -> Vectors:
        """Return the vectors of one request's inputs, (n, dim) float32.

        The inputs are sent as texts and not as token ids, because servers other than OpenAI's have other
        vocabularies (docs/decisions/029-openai-and-compatible-servers.md).

        Raises:
            Throttled, ProviderUnavailable, Misconfigured, InvalidInput, Permanent: see ``cluster.errors``.
            Unavailable: our Postgres does not answer.
        """
        account = await asyncio.to_thread(self._accounts.of, organisation)
        texts = [self._tokeniser.decode(ids) or BLANK for ids in batch]
        # Count the tokens of the texts, because the provider divides the texts into tokens itself. The ids
        # from a caller can be fewer.
        tokens = int((await asyncio.to_thread(self._tokeniser.count, texts)).sum())
        request = uuid4().hex
        for attempt in range(1, MAX_RETRIES + 2):
            grant = await self._granted(account, tokens, organisation, urgent=urgent)
            try:
                return await self._attempt(account, texts, grant, organisation, f"{request}/{attempt}")
            except _NotSent as exc:
                raise exc.reason  # noqa: B904  the reason has its own cause
            except (Retryable, BadAnswer) as exc:
                wait_s = await self._wait_s(account, exc, attempt)
                log.warning("provider_retried", attempt=attempt, wait_s=round(wait_s, 2), reason=str(exc))
                await asyncio.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    async def close(self) -> None:
        """Close the connections to the provider and to the database."""
        await self._accounts.close()
        self._pool.close()

    async def _wait_s(self, account: Account, exc: Retryable | BadAnswer, attempt: int) -> float:
        """Return the seconds to wait before the next attempt. Raise the error if there is no next attempt.

        If the provider asks to send less, pause the budget for all processes.
        """
        asked_s = exc.retry_after_s if isinstance(exc, Retryable) else None
        if isinstance(exc, Throttled) and asked_s and account.budget is not None:
            await asyncio.to_thread(account.budget.pause, asked_s)
        if attempt > MAX_RETRIES or (asked_s or 0.0) > LONGEST_PAUSE_S:
            if isinstance(exc, Retryable) and asked_s is None:
                exc.retry_after_s = AWAY_S
            raise exc
        return BACKOFF.wait_s(attempt, exc)

    async def _granted(
        self, account: Account, tokens: int, organisation: str, *, urgent: bool
    ) -> Grant | None:
        if account.budget is None:
            return None
        amounts = {"requests": 1, "tokens": tokens}
        return await account.budget.acquire_async(
            {name: amount for name, amount in amounts.items() if name in account.budget.limits},
            organisation=organisation,
            urgent=urgent,
            timeout_s=BUDGET_TIMEOUT_S,
        )

    async def _attempt(
        self, account: Account, texts: list[str], grant: Grant | None, organisation: str, request: str
    ) -> Vectors:
        used: dict[str, int] = {}
        try:
            content = await self._call(account, texts, used)
            tokens = read_usage(content)
            if tokens is not None:
                used["tokens"] = tokens
                await asyncio.to_thread(self._ledger.record, organisation, request, tokens=tokens)
            return read_answer(content, inputs=len(texts), dim=self._dim).vectors
        finally:
            if grant is not None:
                await asyncio.shield(asyncio.to_thread(_settle, grant, used))

    async def _call(self, account: Account, texts: list[str], used: dict[str, int]) -> bytes:
        """Return the body of the provider's answer.

        Args:
            account: the account that pays.
            texts: the inputs.
            used: the amounts of the budget that the request used. This method sets the amounts to 0 if
                nothing was sent.
        """
        sent = False
        try:
            async with self._breaker.attempt():
                sent = True
                try:
                    async with asyncio.timeout(REQUEST_TIMEOUT_S):
                        response = await account.client.embeddings.with_raw_response.create(
                            input=texts,
                            model=self._entry.source or "",
                            encoding_format="base64",
                            **self._options,
                        )
                except (openai.OpenAIError, TimeoutError) as exc:
                    raise translated(exc, account) from None  # the client's error contains the API key
        except ClusterError as exc:
            if sent:
                raise
            used.update(requests=0, tokens=0)
            raise _NotSent(exc) from exc
        await self._correct(account, response.headers)
        return bytes(response.content)

    async def _correct(self, account: Account, headers: Any) -> None:
        if account.budget is None:
            return
        left, reset_s = remaining(headers)
        limits = account.budget.limits
        if any(left[name] < NEARLY_USED_UP * limits[name][0] for name in left if name in limits):
            try:
                await asyncio.to_thread(account.budget.correct, remaining=left, reset_s=reset_s)
            except Retryable as exc:  # not raised, because that would repeat an answered request
                log.warning("budget_not_corrected", reason=str(exc))


class _NotSent(Exception):
    """Raised if no request was sent, because the breaker is open or our Postgres does not answer.

    ``reason`` is the error that prevented the request.
    """

    def __init__(self, reason: ClusterError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def _settle(grant: Grant, used: dict[str, int]) -> None:
    try:
        grant.settle({name: used[name] for name in used if name in grant.amounts})
    except Retryable as exc:
        # Not raised, because the grant ends at the end of its lease.
        log.warning("grant_not_settled", reason=str(exc))
