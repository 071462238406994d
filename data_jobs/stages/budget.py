"""Reserve the embedding of each document of a bulk ingest in the organisation's budgets.

``Compare`` reserves, because it knows the new chunks of a document. ``Write`` returns the reservation in the
transaction that writes the usage of the document. The command renews the reservations while it runs
(``data_jobs.bulk.budget_renewal``). If the organisation has no budget that refuses work, each process asks
the database for budgets at most once a second, whatever the number of documents.

    budget = DocumentBudget(settings, store, job="job_1")
    budget.reserve(row)                                    # raises BudgetExceeded
    budget.release(connection, row)
"""

import time
from typing import Any

import pyarrow.compute as pc

from cluster.budgets.reservations import LEASE_S, KindOfWork, Work, has_stops, release, reserve
from cluster.database import translated
from cluster.documents.vector_stores.stores import VectorStore
from cluster.errors import BudgetExceeded
from cluster.settings import Settings
from cluster.usage.events import CHUNK, EMBEDDING, PAGE
from data_jobs.stages import process_resources
from data_jobs.stages.database_retry import with_database_retry
from data_jobs.stages.document_row import DocumentRow, unpack

#: Seconds for which a process remembers that an organisation has a budget that refuses work, or has none.
KNOWN_FOR_S = 1.0
#: For each organisation, True if the organisation has a budget that refuses work, and the time
#: (``time.monotonic``) at which the database said so.
_KNOWN: dict[str, tuple[bool, float]] = {}


class DocumentBudget:
    """Reserves tokens, pages and chunks in the organisation's budgets for the documents of one run."""

    def __init__(self, settings: Settings, store: VectorStore, *, job: str) -> None:
        self.settings, self.store, self.job = settings, store, job

    def reserve(self, row: DocumentRow) -> None:
        """Reserve the tokens of the new chunks and of the chunker, the pages and the chunks of the document.

        If the organisation has no budget that refuses work, do nothing.

        Raises:
            BudgetExceeded: a budget does not cover the document.
        """
        if not self._needed():
            return
        chunks, organisation = unpack(row), self.store.organisation
        new = pc.list_value_length(chunks.filter(pc.invert(chunks["stored"]))["token_ids"])
        special = process_resources.special_tokens(self.settings, self.store.fingerprint)
        amounts: dict[KindOfWork, int] = {
            (EMBEDDING, self.store.fingerprint.model): (pc.sum(new).as_py() or 0)
            + special * len(new)
            + row["chunker_tokens"],
            (PAGE, None): row["pages"],
            (CHUNK, None): len(chunks),
        }
        work = Work(id=self._id(row), amounts=amounts)

        def once() -> dict[str, BudgetExceeded]:
            pool = process_resources.pool(self.settings)
            with translated(), pool.connection() as connection, connection.transaction():
                return reserve(connection, organisation, [work], owner=self.job, lease_s=LEASE_S)

        refused = with_database_retry(self.settings, once)
        if refused:
            raise refused[work.id]

    def release(self, connection: Any, row: DocumentRow) -> None:
        """Return the reservation of the document to the budgets, in the caller's transaction."""
        if self._needed():
            release(connection, self.store.organisation, [self._id(row)])

    def _needed(self) -> bool:
        organisation = self.store.organisation
        known, at = _KNOWN.get(organisation, (False, float("-inf")))
        if time.monotonic() - at < KNOWN_FOR_S:
            return known

        def once() -> bool:
            with translated(), process_resources.pool(self.settings).connection() as connection:
                return has_stops(connection, organisation)

        known = with_database_retry(self.settings, once)
        _KNOWN[organisation] = known, time.monotonic()
        return known

    def _id(self, row: DocumentRow) -> str:
        return f"{self.job}/{row['document']}"
