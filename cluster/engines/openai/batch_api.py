"""Use OpenAI's Batch API for embeddings: upload a file, create, find and read batches, download answers.

``data_jobs.bulk.provider_batches`` calls this module. Every call blocks its thread. This is the only place
that repeats a call to the Batch API. Requests in a batch do not count towards the limits per minute, so they
need no budget.

    with BatchApi(entry, dim, pool, organisation="acme") as api:
        found = api.submit("pb_1", Path("requests.jsonl"), maybe_sent=False)
        api.get(found.id).status
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import openai
import structlog
from openai import AsyncOpenAI, Timeout
from openai.types import Batch
from psycopg_pool import ConnectionPool

from cluster.engines.contract import ModelEntry
from cluster.engines.openai.accounts import CONNECT_TIMEOUT_S, Accounts
from cluster.engines.openai.batch_lines import ENDPOINT, LineAnswer, read_line, request_line
from cluster.engines.openai.errors import NO_MONEY, translated, without_keys
from cluster.engines.openai.known_models import shortening
from cluster.errors import Misconfigured, NotFound, Permanent, Retryable
from cluster.retrying import Backoff

log = structlog.get_logger(__name__)

#: Maximum number of inputs in one batch for embeddings (``MAX_INPUTS``), and maximum number of bytes of its
#: file (``MAX_BYTES``; OpenAI, "Create batch", API reference). The limit of inputs is also the limit of
#: requests. Each request has one input, so that a failed input does not affect other inputs.
MAX_INPUTS, MAX_BYTES = 50_000, 200_000_000
#: Maximum number of retries of a call.
MAX_RETRIES = 5
#: Waits between the attempts, with full jitter.
BACKOFF = Backoff(first_s=1.0, longest_s=30.0, jitter=True)
#: Maximum seconds of one call. A file of 200 MB needs some minutes on a slow line.
TIMEOUT_S = 900.0
#: Key of our id in the metadata of a batch.
METADATA = "embedding_cluster_batch"
#: The statuses with which a batch ends (OpenAI, "Batch API").
COMPLETED, FAILED, EXPIRED, CANCELLED = "completed", "failed", "expired", "cancelled"
ENDED = frozenset({COMPLETED, FAILED, EXPIRED, CANCELLED})
#: Code of the provider's error if a batch fails because too many tokens are in unfinished batches.
QUEUE_IS_FULL = "token_limit_exceeded"
#: HTTP statuses of a server that does not have the Batch API, or does not have the requested object.
NO_SUCH_ROUTE = (404, 405, 501)
#: Number of batches in one page of a list.
PAGE = 100

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteBatch:
    """The provider's description of a batch."""

    #: The provider's id of the batch.
    id: str
    status: str
    #: Number of requests that have ended.
    done: int
    #: Ids of the files with the answers and with the errors. The provider creates no empty file.
    files: tuple[str, ...]
    input_file: str
    #: The reason why the provider refused the whole batch; empty if the provider did not refuse the batch.
    error: str = ""
    #: True if the provider refused the batch because too many tokens are in unfinished batches.
    queue_is_full: bool = False

    @property
    def ended(self) -> bool:
        """True if the batch has ended, so that its status no longer changes."""
        return self.status in ENDED


class BatchApi:
    """Calls the Batch API of one model's server, with the account of one organisation.

    Use an object of this class from one thread only.

    Args:
        entry: the model.
        dim: count of the numbers in a vector.
        pool: connections to the database.
        organisation: the organisation that pays.

    Raises:
        Misconfigured: there is no key, or the stored key cannot be decrypted.
        Unavailable: the database does not answer.
    """

    def __init__(self, entry: ModelEntry, dim: int, pool: ConnectionPool, *, organisation: str) -> None:
        self.model = entry.name
        self.price_per_million_tokens = entry.options.price_per_million_tokens
        #: Maximum number of tokens in unfinished batches; None if the settings have no limit.
        self.queue_tokens = entry.options.batch_queue_tokens
        self._source, self._dim = entry.source or "", dim
        self._options = shortening(entry.source, dim)
        self._accounts = Accounts(entry, pool)
        self._account = self._accounts.of(organisation)
        #: Name of the provider in messages.
        self.provider = self._account.provider
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._accounts.close())
        self._runner.close()

    def require(self) -> None:
        """Check that the server has a Batch API and takes the key.

        Raises:
            Misconfigured: the server has no Batch API, or refuses the key.
            ProviderUnavailable, Throttled, InvalidInput, Permanent: see ``_call``.
        """
        try:
            self._call(lambda client: client.batches.list(limit=1))
        except NotFound as exc:
            raise Misconfigured(
                f"{self.provider} has no Batch API ({exc}); leave out --provider-batch, or correct the "
                f"base_url of {self.model} in CLUSTER_MODELS"
            ) from exc

    def line(self, id: str, text: str) -> bytes:
        """Return the line of one input in the file of a batch."""
        return request_line(id, text, model=self._source, options=self._options)

    def submit(self, id: str, file: Path, *, maybe_sent: bool) -> RemoteBatch:
        """Upload the file, create the batch at the provider, and return the batch.

        If the answer to a request is lost, the provider may have created the batch. So this method searches
        for the batch before it sends the request again.

        Args:
            id: our id, which is stored in the metadata of the batch.
            file: the requests, one on each line.
            maybe_sent: True if an earlier process may have created the batch.
        """
        if maybe_sent and (found := self.find(id)) is not None:
            return found
        uploaded = self._uploaded(file) if maybe_sent else None
        if uploaded is None:
            uploaded = self._call(partial(_upload, file), unless=lambda: self._uploaded(file))
        sent = 0

        async def create(client: AsyncOpenAI) -> Batch:
            nonlocal sent
            sent += 1
            return await client.batches.create(
                input_file_id=uploaded,
                endpoint=ENDPOINT,
                completion_window="24h",
                metadata={METADATA: id},
            )

        found = self._call(create, unless=lambda: self.find(id))
        if isinstance(found, RemoteBatch):
            return found
        created = _remote(found, self._say)
        # If an answer was lost, the list may not have had the batch yet, and there are two batches now.
        # ``find`` cancels the newer batch.
        return (self.find(id) if sent > 1 else None) or created

    def _uploaded(self, file: Path) -> str | None:
        """Return the provider's id of a file with this name and size; None if there is no such file."""
        name, size = file.name, file.stat().st_size

        async def search(client: AsyncOpenAI) -> str | None:
            async for one in await client.files.list(purpose="batch"):
                if (one.filename, one.bytes) == (name, size):
                    return one.id
            return None

        found: str | None = self._call(search)
        return found

    def find(self, id: str) -> RemoteBatch | None:
        """Return the batch with our id in its metadata; None if there is no such batch.

        If several batches have the id, return the oldest batch and cancel the newer batches, because the
        answers of the newer batches are not needed.
        """

        async def all_of_them(client: AsyncOpenAI) -> list[Batch]:
            pages = await client.batches.list(limit=PAGE)
            return [batch async for batch in pages if (batch.metadata or {}).get(METADATA) == id]

        found = sorted(self._call(all_of_them), key=lambda batch: (batch.created_at, batch.id))
        for batch in found[1:]:
            log.warning("provider_batch_twice", batch=id, cancelled=batch.id)
            if batch.status not in ENDED:
                self._call(partial(_cancel, batch.id))
        return _remote(found[0], self._say) if found else None

    def get(self, provider_id: str) -> RemoteBatch:
        """Return the batch with this id of the provider.

        Raises:
            NotFound: the account has no such batch.
        """
        return _remote(self._call(lambda client: client.batches.retrieve(provider_id)), self._say)

    def answers(self, batch: RemoteBatch, folder: Path) -> Iterator[LineAnswer]:
        """Yield the answers of a batch that has ended.

        Args:
            batch: the batch.
            folder: a folder for the files of the provider while this method reads them.

        Raises:
            BadAnswer: a line cannot be read.
        """
        for file in batch.files:
            path = folder / file

            self._call(partial(_download, file, path))
            with path.open("rb") as lines:
                for line in lines:
                    if line.strip():
                        yield read_line(line, dim=self._dim, account=self._account)
            path.unlink()

    def delete_files(self, batch: RemoteBatch) -> None:
        """Delete the files of a batch at the provider. Files that cannot be deleted expire at the
        provider.
        """
        for file in (batch.input_file, *batch.files):
            try:
                self._call(partial(_delete, file), retries=0)
            except (Retryable, Permanent) as exc:
                log.warning("provider_file_not_deleted", file=file, reason=str(exc))

    def _say(self, sentence: str) -> str:
        return without_keys(sentence, self._account)

    def _call(
        self,
        call: Callable[[AsyncOpenAI], Awaitable[T]],
        *,
        retries: int = MAX_RETRIES,
        unless: Callable[[], Any] | None = None,
    ) -> Any:
        """Make the call, and repeat the call after an error that may be temporary.

        Args:
            call: makes one request.
            retries: maximum number of retries.
            unless: a function that is called before each retry. If the function returns a value that is not
                None, the call is not repeated, and the value is returned instead of an answer.

        Raises:
            NotFound: the server does not have the route or the requested object.
            Misconfigured, InvalidInput, Permanent, ProviderUnavailable, Throttled: see ``errors``.
        """
        client = self._account.client.with_options(timeout=Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S))

        async def once() -> Any:
            return await call(client)

        for attempt in range(1, retries + 2):
            if attempt > 1 and unless is not None and (found := unless()) is not None:
                return found
            try:
                return self._runner.run(once())
            except (openai.OpenAIError, TimeoutError) as exc:
                status = exc.status_code if isinstance(exc, openai.APIStatusError) else None
                error = translated(exc, self._account)
            if status in NO_SUCH_ROUTE:
                raise NotFound(str(error))
            if not isinstance(error, Retryable) or attempt > retries:
                raise error
            wait_s = BACKOFF.wait_s(attempt, error)
            log.warning("provider_retried", attempt=attempt, wait_s=round(wait_s, 2), reason=str(error))
            time.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")


async def _upload(file: Path, client: AsyncOpenAI) -> str:
    with file.open("rb") as content:
        return (await client.files.create(file=(file.name, content), purpose="batch")).id


async def _download(file: str, to: Path, client: AsyncOpenAI) -> None:
    async with client.files.with_streaming_response.content(file) as response:
        await response.stream_to_file(to)


async def _cancel(batch: str, client: AsyncOpenAI) -> None:
    await client.batches.cancel(batch)


async def _delete(file: str, client: AsyncOpenAI) -> None:
    await client.files.delete(file)


def _remote(batch: Batch, say: Callable[[str], str]) -> RemoteBatch:
    counts = batch.request_counts
    errors = batch.errors.data or [] if batch.errors is not None else []
    codes = {error.code for error in errors}
    return RemoteBatch(
        id=batch.id,
        status=batch.status,
        done=0 if counts is None else counts.completed + counts.failed,
        files=tuple(file for file in (batch.output_file_id, batch.error_file_id) if file),
        input_file=batch.input_file_id,
        error=say("; ".join(f"{error.message} ({error.code})" for error in errors[:3])),
        queue_is_full=QUEUE_IS_FULL in codes and not codes & set(NO_MONEY),
    )
