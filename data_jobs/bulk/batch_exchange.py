"""Submit the inputs of one vector store in batches to a provider's Batch API, and collect the answers.

Each step is recorded in Postgres before the next step begins. So a process may be killed at any moment, and
the answers of a batch are never paid for twice. ``data_jobs.bulk.provider_batches`` calls this module.

    exchange = BatchExchange(settings, pool, store, api)
    exchange.advance()
"""

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import structlog
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.database.session_lock import alone
from cluster.documents.provider_batches import provider_batches as records
from cluster.documents.provider_batches.provider_batches import BatchAnswer, BatchLimits, ProviderBatch
from cluster.documents.vector_stores.stores import VectorStore
from cluster.engines.openai.answers import BadAnswer
from cluster.engines.openai.batch_api import FAILED, MAX_BYTES, MAX_INPUTS, BatchApi, RemoteBatch
from cluster.engines.openai.batch_lines import LineAnswer
from cluster.engines.openai.ledger import batch_usage
from cluster.errors import (
    Misconfigured,
    NotFound,
    Permanent,
)
from cluster.settings import Settings
from cluster.usage.events import UsageEvent, record_usage
from data_jobs.stages.database_retry import with_database_retry

log = structlog.get_logger(__name__)

#: Number of answers that are recorded in one transaction.
ANSWERS_PER_WRITE = 500
#: Number of characters of a chunk's id (``records.chunk_id``).
CHUNK_ID_LENGTH = 36
#: Age in hours at which the exchange gives up a batch that the account does not have. A younger batch may
#: belong to the account of another key.
GIVEN_UP_AFTER_H = 48

P = ParamSpec("P")
T = TypeVar("T")


class BatchExchange:
    """Submits the waiting inputs of a store, and collects the answers to the inputs. Several processes may
    use the same store at the same time, because only one process at a time does the work of ``advance``.

    Args:
        settings: the settings of this run.
        pool: connections to the database.
        store: the store.
        api: the provider's Batch API.
    """

    def __init__(self, settings: Settings, pool: ConnectionPool, store: VectorStore, api: BatchApi) -> None:
        self._settings, self._pool, self._store = settings, pool, store
        self.api = api
        #: Number of batches that this process has submitted.
        self.submitted = 0
        #: Number of ended requests of each open batch, by the id of the batch. The progress shows the
        #: numbers.
        self.done: dict[str, int] = {}
        self._queue_is_full = False
        self._line_bytes = len(api.line("x" * CHUNK_ID_LENGTH, "x")) - len('"x"')

    def advance(self) -> None:
        """Collect the batches that have ended, and submit waiting inputs.

        Do nothing while another process runs this method for the store.

        Raises:
            Misconfigured: the provider refuses the key, the model, the account or a whole batch, or the
                account does not have a batch that was submitted.
            Retryable: the provider or the database does not answer.
        """
        with alone(self._pool, f"provider_batches/{self._store.organisation}/{self._store.id}") as held:
            if held is not None:
                self._collect_ended()
                self._submit_waiting()

    def open_batches(self) -> list[ProviderBatch]:
        """Return the batches whose answers are not collected, the oldest first."""
        return self.in_transaction(records.open_batches)

    def _collect_ended(self) -> None:
        for batch in self.open_batches():
            if batch.provider_id is None:
                self._submit(batch, maybe_sent=True)
                continue
            try:
                remote = self.api.get(batch.provider_id)
            except NotFound as exc:
                self._give_up(batch, exc)
                continue
            self.done[batch.id] = remote.done
            if remote.ended:
                self._collect(batch, remote)
            else:
                self.in_transaction(records.record_status, batch, remote.status)

    def _submit_waiting(self) -> None:
        """Submit batches as long as inputs wait and the provider's queue has room for another batch."""
        most = None if self.api.queue_tokens is None else self.api.queue_tokens // 2
        limits = BatchLimits(inputs=MAX_INPUTS, bytes=MAX_BYTES, tokens=most, line_bytes=self._line_bytes)
        while not self._queue_is_full:
            queued = sum(batch.tokens for batch in self.in_transaction(records.open_batches))
            if most is not None and queued > most:
                return
            # The batch is committed to Postgres before it is sent. So if this process is killed during the
            # sending, the next process knows that the provider may have the batch.
            batch = self.in_transaction(records.seal, limits)
            if batch is None:
                return
            self._submit(batch, maybe_sent=False)

    def _submit(self, batch: ProviderBatch, *, maybe_sent: bool) -> None:
        with tempfile.TemporaryDirectory(prefix="provider-batch-") as folder:
            file = Path(folder) / f"{batch.id}.jsonl"
            self.in_transaction(self._write, batch, file)
            remote = self.api.submit(batch.id, file, maybe_sent=maybe_sent)
        self.in_transaction(records.record_submitted, batch, provider_id=remote.id, status=remote.status)
        self.submitted += 1
        log.info("provider_batch_submitted", batch=batch.id, provider_batch=remote.id, inputs=batch.inputs)

    def _write(
        self, connection: Connection[Any], store: VectorStore, batch: ProviderBatch, file: Path
    ) -> None:
        with file.open("wb") as lines:
            for id, text in records.texts(connection, store, batch):
                lines.write(self.api.line(id, text))

    def _collect(self, batch: ProviderBatch, remote: RemoteBatch) -> None:
        """Record the answers of a batch that has ended. Then record the end and the usage of the batch in one
        transaction.
        """
        if remote.status == FAILED:
            self._refused(batch, remote)
            return
        tokens, trouble = 0, None
        with tempfile.TemporaryDirectory(prefix="provider-batch-") as folder:
            lines = self.api.answers(remote, Path(folder))
            while part := list(islice(lines, ANSWERS_PER_WRITE)):
                tokens += sum(line.tokens for line in part)
                trouble = trouble or next((x.error for x in part if isinstance(x.error, Misconfigured)), None)
                found = [answer for line in part if (answer := _answer(line)) is not None]
                self.in_transaction(records.record_answers, batch, found)

        def close(connection: Connection[Any], store: VectorStore) -> None:
            if records.close(connection, store, batch, status=remote.status, tokens_used=tokens):
                record_usage(connection, [self._usage(batch, tokens)] if tokens else [])

        self.in_transaction(close)
        self._queue_is_full = False
        self.api.delete_files(remote)
        log.info("provider_batch_collected", batch=batch.id, status=remote.status, tokens=tokens)
        if trouble is not None:
            raise trouble

    def _usage(self, batch: ProviderBatch, tokens: int) -> UsageEvent:
        return batch_usage(
            self._store.organisation,
            f"{self._store.id}/{batch.id}",
            model=self.api.model,
            tokens=tokens,
            price_per_million_tokens=self.api.price_per_million_tokens,
        )

    def _refused(self, batch: ProviderBatch, remote: RemoteBatch) -> None:
        """Record that the provider refused the whole batch. The provider then computes and bills nothing.

        Raises:
            Misconfigured: always, unless the provider's queue is full and other batches are open.
        """
        provider, reason = self.api.provider, remote.error or "no reason given"
        others = [other for other in self.open_batches() if other.id != batch.id]
        self.in_transaction(records.close, batch, status=remote.status, error=reason)
        self.api.delete_files(remote)
        if remote.queue_is_full and others:
            self._queue_is_full = True  # submit the inputs again only when another batch has ended
            log.warning("provider_queue_full", batch=batch.id, reason=reason)
            return
        remedy = (
            f"set batch_queue_tokens of {self.api.model} in CLUSTER_MODELS to your account's limit, or run "
            "again when other batches of the account have ended"
            if remote.queue_is_full
            else "correct what it names, and run again"
        )
        raise Misconfigured(f"{provider} refuses the batch {remote.id} ({reason}); {remedy}")

    def _give_up(self, batch: ProviderBatch, exc: NotFound) -> None:
        age = datetime.now(UTC) - batch.created_at
        if age < timedelta(hours=GIVEN_UP_AFTER_H):
            raise Misconfigured(
                f"the batch {batch.provider_id} is not found at {self.api.provider} ({exc}). Another key may "
                f"have submitted it: use that key, or run again {GIVEN_UP_AFTER_H} hours after "
                f"{batch.created_at.isoformat(timespec='seconds')}, when the batch is given up"
            ) from exc
        log.warning("provider_batch_given_up", batch=batch.id, provider_batch=batch.provider_id)
        self.in_transaction(records.close, batch, status="gone", error=str(exc))

    def in_transaction(
        self,
        work: Callable[Concatenate[Connection[Any], VectorStore, P], T],
        *args: P.args,
        **named: P.kwargs,
    ) -> T:
        """Call ``work(connection, store, *args, **named)`` in a transaction, and return the result. Repeat
        the transaction while the database does not answer.
        """

        def once() -> T:
            with translated(), self._pool.connection() as connection, connection.transaction():
                return work(connection, self._store, *args, **named)

        return with_database_retry(self._settings, once, pool=self._pool)


def _answer(line: LineAnswer) -> BatchAnswer | None:
    """Return the answer to record for a line; None if the request may succeed in another batch."""
    if line.vector is not None:
        return BatchAnswer(id=line.id, vector=line.vector)
    if isinstance(line.error, Permanent) and not isinstance(line.error, Misconfigured | BadAnswer):
        return BatchAnswer(id=line.id, error=str(line.error))
    return None
