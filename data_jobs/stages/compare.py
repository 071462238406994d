"""Mark the chunks whose vectors the store already has, because these chunks need no new embedding.
Reserve the other chunks in the organisation's budgets.
"""

from collections.abc import Collection

from cluster.documents.vector_stores.stores import VectorStore
from cluster.settings import Settings
from data_jobs.stages import process_resources
from data_jobs.stages.budget import DocumentBudget
from data_jobs.stages.database_retry import with_database_retry
from data_jobs.stages.document_row import DocumentRow, unpack, with_chunk_column


class Compare:
    """Needs ``chunks``, and marks a chunk as ``stored`` if the store already has the vector of the chunk.

    Raises:
        BudgetExceeded: a budget of the organisation does not cover the document.
    """

    def __init__(self, settings: Settings, store: VectorStore, *, job: str) -> None:
        self.settings = settings
        self.store = store
        self.budget = DocumentBudget(settings, store, job=job)

    def __call__(self, row: DocumentRow) -> DocumentRow:
        def look_up() -> set[str]:
            store = self.store
            index = process_resources.chunk_indexes(self.settings).of(store)
            return index.stored_ids(
                store.organisation, store.id, row["document"], collection=store.collection
            )

        row = mark_stored(row, with_database_retry(self.settings, look_up))
        self.budget.reserve(row)
        return row


def mark_stored(row: DocumentRow, stored: Collection[str]) -> DocumentRow:
    """Return the row with ``stored`` set for each chunk: True if the id of the chunk is in ``stored``."""
    chunks = unpack(row)
    return with_chunk_column(row, chunks, "stored", [id in stored for id in chunks["id"].to_pylist()])
