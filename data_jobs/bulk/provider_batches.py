"""Embed the chunks of a bulk run with a provider's Batch API.

Each pass of the pipeline writes the documents whose vectors have arrived, and asks for the missing vectors
(``stages.take_vectors``). Between two passes, ``BatchExchange`` submits batches and collects answers. After a
run was killed, the same command continues the run, and no batch is paid for twice.

    with provider_batches(settings, pool, store, report) as batches:
        for result in batches.results(plan.pending, run_pipeline):
            ...
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import structlog
from psycopg_pool import ConnectionPool

from cluster.documents.provider_batches import provider_batches as records
from cluster.documents.vector_stores.stores import VectorStore
from cluster.engines import Registry
from cluster.engines.openai.batch_api import BatchApi
from cluster.errors import ClusterError, InvalidInput, Retryable, Unavailable
from cluster.settings import Settings
from data_jobs.bulk.batch_exchange import BatchExchange
from data_jobs.bulk.ray_session import ending_with_cluster
from data_jobs.bulk.report import IngestReport
from data_jobs.stages.document_row import DocumentRow

log = structlog.get_logger(__name__)

#: Seconds between two requests to the provider for the states of batches: the first wait, and the maximum
#: wait. The first waits are short, because small batches end soon. Each wait is ``SLOWER`` times as long as
#: the wait before.
FIRST_POLL_S, LONGEST_POLL_S, SLOWER = 2.0, 60.0, 1.5
#: A run fails after this many seconds without an answer of the provider.
PATIENCE_S = 1_200.0
#: Maximum number of documents in one transaction.
DOCUMENTS_PER_WRITE = 10_000
#: Maximum number of batches that the sentence of ``remaining`` names.
MAX_NAMED = 5

Run = Callable[[Sequence[DocumentRow]], Iterable[dict[str, Any]]]


class ProviderBatches:
    """Embeds documents of one vector store with the provider's Batch API, and runs the pipeline that writes
    the documents.

    Args:
        settings: the settings of this run.
        store: the store.
        exchange: submits the batches of the store, and collects the answers.
        report: shows the progress.
    """

    def __init__(
        self, settings: Settings, store: VectorStore, exchange: BatchExchange, report: IngestReport
    ) -> None:
        self._settings = settings
        self._store, self._exchange, self._report = store, exchange, report
        self._in_transaction = exchange.in_transaction
        self._answered_at = time.monotonic()
        self._poll_s = FIRST_POLL_S

    def results(self, pending: Sequence[DocumentRow], run: Run) -> Iterator[dict[str, Any]]:
        """Yield the result of each document as soon as the document is written.

        Args:
            pending: the documents that need work.
            run: the pipeline; it returns no result for a document that waits for vectors.

        Raises:
            Misconfigured: the provider refuses the key, the model, the account or a whole batch.
            Retryable: the provider, the database or the pipeline stayed unavailable.
        """
        waiting, ready = {row["document"]: row for row in pending}, list(pending)
        while True:
            written = list[str]()
            for result in run(ready) if ready else []:
                waiting.pop(result["document"], None)
                written.append(result["document"])
                yield result
            self._forget(written)
            passed, unfinished = ready, self._advance()
            ready = self._ready(waiting)
            if passed and not written and not unfinished:
                raise Unavailable(f"the pipeline returned no result for {len(ready):,} documents")
            with ending_with_cluster(self._settings):
                while unfinished and not ready:
                    self._pause()
                    unfinished = self._advance()
                    ready = self._ready(waiting)
            if not unfinished and not waiting:
                return

    def forget_settled(self, settled: Iterable[str]) -> None:
        """Delete the inputs that a killed run has left for documents that are written already.

        Args:
            settled: ids of documents that need no work.
        """
        left = self._in_transaction(records.asking_documents)
        self._forget(list(left.intersection(settled)) if left else [])

    def remaining(self) -> str:
        """Return a sentence about the batches at the provider whose answers are not collected; "" if there
        are no such batches.
        """
        batches = self._exchange.open_batches()
        if not batches:
            return ""
        ids = ", ".join(batch.provider_id or batch.id for batch in batches[:MAX_NAMED])
        return (
            f"{self._exchange.api.provider} continues the work on {_counted(batches)} with "
            f"{records.total_inputs(batches):,} inputs ({ids}). The same command collects the answers, and "
            "nothing is paid twice."
        )

    def _ready(self, waiting: Mapping[str, DocumentRow]) -> list[DocumentRow]:
        """Return the waiting documents in which every chunk that was asked for has an answer."""
        unanswered = self._in_transaction(records.unanswered_documents)
        return [row for id, row in waiting.items() if id not in unanswered]

    def _forget(self, documents: Sequence[str]) -> None:
        for start in range(0, len(documents), DOCUMENTS_PER_WRITE):
            part = documents[start : start + DOCUMENTS_PER_WRITE]
            self._in_transaction(records.forget, part)

    def _pause(self) -> None:
        time.sleep(self._poll_s)
        self._poll_s = min(LONGEST_POLL_S, SLOWER * self._poll_s)

    def _advance(self) -> bool:
        """Collect and submit batches, and show the progress. Return False if no batch is open and no input
        waits.
        """
        before = self._exchange.submitted
        try:
            self._exchange.advance()
        except Retryable as exc:
            if time.monotonic() - self._answered_at > PATIENCE_S:
                raise
            log.warning("provider_awaited", provider=self._exchange.api.provider, reason=str(exc))
        else:
            self._answered_at = time.monotonic()
        if self._exchange.submitted > before:
            self._poll_s = FIRST_POLL_S
        batches = self._exchange.open_batches()
        waiting = self._in_transaction(records.waiting_inputs)
        if batches or waiting:
            done = sum(self._exchange.done.get(batch.id, 0) for batch in batches)
            states = ", ".join(sorted({batch.status for batch in batches}))
            self._report.describe(
                f"{done:,} of {records.total_inputs(batches):,} inputs done in {_counted(batches)} at "
                f"{self._exchange.api.provider} ({states}); {waiting:,} inputs not submitted"
            )
        return bool(batches or waiting)


def _counted(batches: Sequence[records.ProviderBatch]) -> str:
    return f"{len(batches)} batch{'' if len(batches) == 1 else 'es'}"


@contextmanager
def provider_batches(
    settings: Settings, pool: ConnectionPool, store: VectorStore, report: IngestReport
) -> Iterator[ProviderBatches]:
    """Open the Batch API of the store's model. If the block ends in an error or is interrupted, the report
    says which batches remain at the provider.

    Raises:
        Conflict: no model of this node has the store's fingerprint.
        InvalidInput: the model is not of the kind ``openai``.
        Misconfigured: the server has no Batch API, or refuses the key.
        ProviderUnavailable: the provider does not answer.
    """
    entry = Registry(settings).of(store.fingerprint)
    if entry.kind != "openai":
        raise InvalidInput(
            f"--provider-batch needs a model of the kind openai, and {entry.name} is of the kind "
            f"{entry.kind}; leave it out"
        )
    with BatchApi(entry, store.fingerprint.dim, pool, organisation=store.organisation) as api:
        api.require()
        batches = ProviderBatches(settings, store, BatchExchange(settings, pool, store, api), report)
        try:
            yield batches
        except (ClusterError, KeyboardInterrupt):
            with suppress(Retryable):
                report.remaining = batches.remaining()
            raise
