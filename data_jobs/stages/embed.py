"""Compute the vector of every new chunk of a batch of documents.

This is the only stage that loads a model and, if the node has a GPU, uses the GPU.
"""

import time
from itertools import pairwise
from socket import gethostname

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog
from numpy.typing import NDArray

from cluster.engines import Fingerprint, ProviderEngine, Registry, open_engine
from cluster.errors import Conflict, Misconfigured, Retryable
from cluster.records import Outcome
from cluster.settings import Settings
from data_jobs.stages import process_resources
from data_jobs.stages.document_row import DocumentRow, to_rows, to_table, unpack
from data_jobs.stages.map_rows import failed, settled
from data_jobs.stages.stage_context import in_stage

log = structlog.get_logger(__name__)

#: Maximum number of calls to the engine for one batch. If the last call fails too, the run ends.
MAX_ATTEMPTS = 3
#: Seconds between two calls, if the error of the engine does not say how long to wait.
RETRY_AFTER_S = 5.0
#: Maximum seconds that a request waits for a provider's rate limit, or for a provider that does not answer.
#: This time is shorter than the time without progress after which Ray ends the run.
PROVIDER_PATIENCE_S = 1_200.0

TokenIds = list[NDArray[np.int32]]


class Embed:
    """Embeds the ``chunks`` that are not ``stored``, and fills ``vectors`` in the order of these chunks.

    The chunks of all documents in a call go to the engine together, so that the engine can group chunks of
    similar length.

    Args:
        settings: the settings of the job.
        fingerprint: fingerprint of the store's model.
        fields: fields to add to every log line, such as job and organisation.

    Raises:
        Conflict: no model of this node has this fingerprint.
        Misconfigured: a provider refuses the key, the model or the account. The run ends.
        Retryable: the engine stayed unavailable, for an engine of this node in ``MAX_ATTEMPTS`` attempts. The
            run ends, because no document caused this error, and the next run continues.
    """

    def __init__(self, settings: Settings, fingerprint: Fingerprint, **fields: str) -> None:
        process_resources.configure_logs(settings)
        self.fields = fields
        try:
            entry = Registry(settings).of(fingerprint)
        except Conflict as exc:
            raise Conflict(f"node {gethostname()}: {exc}. Every node needs the same models") from exc
        self.engine = open_engine(entry)
        (self.prompt,) = self.engine.tokeniser.ids([fingerprint.document_prompt])

    def __call__(self, table: pa.Table) -> pa.Table:
        with in_stage("embed", **self.fields):
            return to_table(self._embed(to_rows(table)))

    def _embed(self, rows: list[DocumentRow]) -> list[DocumentRow]:
        inputs = [[] if settled(row) else new_chunk_ids(unpack(row)) for row in rows]
        try:
            vectors = self._vectors([ids for document in inputs for ids in document])
        except (Retryable, Misconfigured):
            raise
        except Exception:  # embed each document alone, so that only the faulty document fails
            log.exception("batch_failed", documents=len(rows))
            return [self._embed_one(row, ids) for row, ids in zip(rows, inputs, strict=True)]
        ends = np.cumsum([len(document) for document in inputs])
        return [
            {**row, "vectors": part.tobytes()}
            for row, part in zip(rows, np.split(vectors, ends[:-1]), strict=True)
        ]

    def _vectors(self, ids: TokenIds) -> NDArray[np.float32]:
        inputs = [np.concatenate([self.prompt, one]) for one in ids] if len(self.prompt) else ids
        if isinstance(self.engine, ProviderEngine):
            return self.engine.embed_ids(
                inputs, organisation=self.fields.get("organisation"), patience_s=PROVIDER_PATIENCE_S
            )
        for _ in range(MAX_ATTEMPTS - 1):
            try:
                return self.engine.embed_ids(inputs)
            except Retryable as exc:  # for example, a shared GPU has no free memory for a moment
                wait_s = exc.retry_after_s or RETRY_AFTER_S
                log.warning("engine_unavailable", wait_s=wait_s, reason=str(exc))
                time.sleep(wait_s)
        return self.engine.embed_ids(inputs)

    def _embed_one(self, row: DocumentRow, ids: TokenIds) -> DocumentRow:
        try:
            return {**row, "vectors": self._vectors(ids).tobytes()}
        except (Retryable, Misconfigured):
            raise
        except Exception as exc:  # only this row fails: the error becomes the outcome of the row
            log.exception("stage_failed", document=row["document"])
            return failed(row, Outcome.FAILED, f"embedding failed: {type(exc).__name__}: {exc}")


def new_chunk_ids(chunks: pa.Table) -> TokenIds:
    """Return an array with the token ids for each chunk that is not ``stored``."""
    column = chunks.filter(pc.invert(chunks["stored"]))["token_ids"].combine_chunks()
    flat, offsets = column.values.to_numpy(zero_copy_only=False), column.offsets.to_numpy()
    return [flat[start:end] for start, end in pairwise(offsets)]
