"""``OpenAIEngine`` computes vectors at OpenAI, or at a server that speaks OpenAI's protocol.

Requests run on one event loop in a thread of the engine, several at the same time.

    engine = open_engine(entry)
    engine.embed_ids(ids, organisation="acme")      # (n, dim) float32
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import MappingProxyType

import numpy as np
import structlog
from numpy.typing import NDArray

from cluster.database import open_pool
from cluster.engines.contract import Embeddings, Fingerprint, ModelEntry
from cluster.engines.openai.known_models import MAX_REQUEST_INPUTS, MAX_REQUEST_TOKENS
from cluster.engines.openai.requests import AWAY_S, EmbeddingRequests
from cluster.engines.provider_contract import RequestLimits
from cluster.engines.tokens.cl100k import Cl100kTokeniser, require_file
from cluster.errors import InvalidInput, Throttled, Unavailable
from cluster.settings.models import ModelOptions

log = structlog.get_logger(__name__)

#: Maximum number of requests in flight for one call of ``embed_ids``. A request takes some tenths of a
#: second.
CONCURRENCY = 8
#: Number of connections to the database, and number of threads that use these connections. The threads wait
#: for the rate limit, read the state of the breaker and record usage.
DATABASE_CONNECTIONS = 4
#: The tokens of a minute are divided into this many full requests. Then other organisations and queries wait
#: only a short time for their turn, and little of the limit stays unused while a request waits.
REQUESTS_OF_A_MINUTE = 40
#: A small account permits few requests per minute. Full requests use up to ``SHARE_OF_REQUESTS`` of the
#: permitted requests, because queries and repeated attempts are requests, too. If this share is less than
#: ``FEW_REQUESTS``, full requests use up to ``FEW_REQUESTS``, but at most half of the permitted requests.
SHARE_OF_REQUESTS, FEW_REQUESTS = 1 / 5, 10
#: Maximum number of tokens of a request if the settings have no limit of tokens per minute.
USUAL_TOKENS = 50_000
#: Callers may divide inputs into smaller requests, to send several requests at the same time. A request
#: should not become smaller than this number of tokens.
LEAST_TOKENS = 4_096

Ids = NDArray[np.int32]
Vectors = NDArray[np.float32]


class OpenAIEngine:
    """Implements ``ProviderEngine``. Opening the engine sends nothing and opens no connection.

    Args:
        entry: the model.
        fingerprint: the fingerprint of the model.
        dimensions: lengths to which the model's vectors may be cut.
    """

    prompts = MappingProxyType[str, str]({})
    concurrency = CONCURRENCY
    packed = True
    preempts = True
    billed = True

    def __init__(self, entry: ModelEntry, fingerprint: Fingerprint, dimensions: tuple[int, ...]) -> None:
        self.fingerprint = fingerprint
        self.dimensions = dimensions
        self.tokeniser = Cl100kTokeniser(
            require_file(entry.settings.openai_tokens_file), max_content_tokens=fingerprint.max_tokens
        )
        self.limits = request_limits(entry.options)
        self._entry = entry
        self._requests: EmbeddingRequests | None = None
        self._opening = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(DATABASE_CONNECTIONS, "provider"))
        self._thread = threading.Thread(target=self._loop.run_forever, name="provider", daemon=True)
        self._thread.start()

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Compute the vectors of the texts. The organisation in the settings pays for the requests."""
        whole = self.tokeniser.ids(texts)
        kept = [ids[: self.tokeniser.max_content_tokens] for ids in whole]
        return Embeddings(
            vectors=self.embed_ids(kept),
            token_counts=np.array([len(ids) for ids in kept], np.int32),
            truncated=np.array(
                [len(ids) - len(part) for ids, part in zip(whole, kept, strict=True)], np.int32
            ),
        )

    def embed_ids(
        self, ids: Sequence[Ids], *, organisation: str | None = None, patience_s: float = 0.0
    ) -> Vectors:
        """Compute the vectors, (n, dim) float32, of tokenised inputs; see ``ProviderEngine``."""
        owner = organisation or self._entry.settings.organisation
        return self._start(self._embed(ids, owner, patience_s=patience_s)).result()

    def submit(
        self, batch: Sequence[Ids], *, urgent: bool = False, organisation: str | None = None
    ) -> "Future[Vectors]":
        """Compute the vectors of tokenised inputs in the background; see ``ProviderEngine``."""
        owner = organisation or self._entry.settings.organisation
        return self._start(self._embed(batch, owner, urgent=urgent))

    def _start(self, work: Coroutine[None, None, Vectors]) -> "Future[Vectors]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _embed(
        self, ids: Sequence[Ids], organisation: str, *, urgent: bool = False, patience_s: float = 0.0
    ) -> Vectors:
        refuse_unreadable(ids, self.tokeniser)
        if not ids:
            return np.empty((0, self.fingerprint.dim), np.float32)
        requests = await asyncio.to_thread(self._opened)
        slots = asyncio.Semaphore(CONCURRENCY)

        async def send(part: Sequence[Ids]) -> Vectors:
            async with slots:
                return await _patiently(
                    lambda: requests.send(part, organisation=organisation, urgent=urgent), patience_s
                )

        tasks = [asyncio.create_task(send(part)) for part in _parts(ids, self.limits)]
        try:
            return np.concatenate(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        """Cancel the requests in flight, close the connections, and end the thread."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._requests is not None:
            await self._requests.close()
        await self._loop.shutdown_default_executor()

    def _opened(self) -> EmbeddingRequests:
        with self._opening:
            if self._requests is None:
                settings = self._entry.settings.model_copy(
                    update={"database_pool_size": DATABASE_CONNECTIONS}
                )
                self._requests = EmbeddingRequests(
                    self._entry, self.fingerprint, self.tokeniser, open_pool(settings)
                )
            return self._requests


async def _patiently(send: Callable[[], Awaitable[Vectors]], patience_s: float) -> Vectors:
    """Call ``send``, and return its vectors.

    If the rate limit has no room, or the provider or our Postgres does not answer, wait and try again. Raise
    the error if the next attempt would begin after ``patience_s`` seconds.
    """
    ends = time.monotonic() + patience_s
    while True:
        try:
            return await send()
        except (Throttled, Unavailable) as exc:
            wait_s = exc.retry_after_s or AWAY_S
            if time.monotonic() + wait_s > ends:
                raise
            log.warning("provider_awaited", wait_s=round(wait_s, 1), reason=str(exc))
            await asyncio.sleep(wait_s)


def request_limits(options: ModelOptions) -> RequestLimits:
    """Return the maximum size of a request.

    The size is small, so that waits are short. But the size is large enough to use all tokens of a minute
    within the limit of requests per minute. A whole number of full requests uses all tokens of a minute. An
    input that is larger than this size is sent alone.

    Args:
        options: the limits per minute.
    """
    tokens, requests = options.tokens_per_minute, options.requests_per_minute
    if tokens is None:
        return RequestLimits(inputs=MAX_REQUEST_INPUTS, tokens=USUAL_TOKENS, least_tokens=LEAST_TOKENS)
    count, least = REQUESTS_OF_A_MINUTE, LEAST_TOKENS
    if requests is not None:
        half = -(-requests // 2)
        count = min(count, max(int(requests * SHARE_OF_REQUESTS), min(FEW_REQUESTS, half)))
        # With requests of exactly this size, half of the permitted requests use all tokens of a minute. Real
        # requests are filled to more than half on average, so the permitted requests are enough.
        least = max(least, tokens // half)
    most = min(MAX_REQUEST_TOKENS, max(1, tokens // count))
    return RequestLimits(inputs=MAX_REQUEST_INPUTS, tokens=most, least_tokens=min(least, most))


def refuse_unreadable(batch: Sequence[Ids], tokeniser: Cl100kTokeniser) -> None:
    """Check that the model can read the inputs.

    Raises:
        InvalidInput: an input is too long or has an unknown token id; the message names the input's position.
    """
    for position, ids in enumerate(batch):
        if len(ids) > tokeniser.max_content_tokens:
            raise InvalidInput(
                f"input {position} has {len(ids):,} tokens; the model reads {tokeniser.max_content_tokens:,}"
            )
        if not tokeniser.knows(ids).all():
            raise InvalidInput(f"input {position} holds a token id that cl100k_base does not have")


def _parts(ids: Sequence[Ids], limits: RequestLimits) -> Iterator[Sequence[Ids]]:
    """Divide the inputs, in their order, into requests within the limits."""
    first, tokens = 0, 0
    for at, one in enumerate(ids):
        cost = max(1, len(one))
        if at > first and (at - first == limits.inputs or tokens + cost > limits.tokens):
            yield ids[first:at]
            first, tokens = at, 0
        tokens += cost
    yield ids[first:]
