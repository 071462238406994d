"""Take the vectors of new chunks from the answers of a provider's Batch API, and ask for the vectors that are
missing.

This stage replaces ``Embed`` in ``python -m data_jobs.ingest --provider-batch``. The stage loads no model.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.database import translated
from cluster.documents.provider_batches.provider_batches import BatchAnswer, BatchInput, answers, ask
from cluster.documents.vector_stores.stores import VectorStore
from cluster.records import Outcome
from cluster.settings import Settings
from data_jobs.stages import process_resources
from data_jobs.stages.database_retry import with_database_retry
from data_jobs.stages.document_row import DocumentRow, to_rows, to_table, unpack
from data_jobs.stages.map_rows import failed, map_rows, settled


class TakeVectors:
    """Needs ``chunks`` with ``stored``, and fills ``vectors`` in the same way as ``Embed``.

    If a document does not have all answers yet, this stage asks for its missing vectors and removes the
    document from the table. A later pass through the pipeline writes the document. If the provider refuses a
    chunk, the document fails.
    """

    def __init__(self, settings: Settings, store: VectorStore, **fields: str) -> None:
        self.settings = settings
        self.store = store
        self._on_each = map_rows(self._take, settings, **fields)

    def __call__(self, table: pa.Table) -> pa.Table:
        rows = to_rows(self._on_each(table))
        return to_table([row for row in rows if settled(row) or row["vectors"] is not None])

    def _take(self, row: DocumentRow) -> DocumentRow:
        chunks = unpack(row)
        new = chunks.filter(pc.invert(chunks["stored"]))
        found = with_database_retry(self.settings, lambda: self._answers(row["document"], new))
        if errors := [answer.error for answer in found if answer.error]:
            return failed(row, Outcome.FAILED, f"embedding failed: {errors[0]}")
        vectors = [answer.vector for answer in found if answer.vector is not None]
        if len(vectors) < len(new):
            return {**row, "vectors": None}  # type: ignore[typeddict-item]  # ``__call__`` removes this row
        return {**row, "vectors": np.concatenate(vectors).tobytes() if vectors else b""}

    def _answers(self, document: str, new: pa.Table) -> list[BatchAnswer]:
        """Return the answers to the new chunks, in the order of the chunks, and ask for the missing
        answers.
        """
        if not len(new):
            return []
        with translated(), process_resources.pool(self.settings).connection() as connection:
            known = answers(connection, self.store, document)
            missing = [
                BatchInput(
                    id=chunk["id"], text=self._text(chunk["token_ids"]), tokens=len(chunk["token_ids"])
                )
                for chunk in new.select(["id", "token_ids"]).to_pylist()
                if chunk["id"] not in known
            ]
            ask(connection, self.store, document, missing)
        return [known[id] for id in new["id"].to_pylist() if id in known]

    def _text(self, ids: list[int]) -> str:
        """Return the text that the engine would send for these ids. This text can begin or end with white
        space that the text of the chunk does not have.
        """
        from cluster.engines.tokens.cl100k import Cl100kTokeniser  # noqa: PLC0415  imports tiktoken

        fingerprint = self.store.fingerprint
        tokeniser = process_resources.tokeniser(self.settings, fingerprint)
        assert isinstance(tokeniser, Cl100kTokeniser)
        return fingerprint.document_prompt + tokeniser.decode(np.array(ids, np.int32))
