"""Give every new chunk of a batch of documents its vector. The one stage that holds a model, and a GPU where there is one."""

import time
from itertools import pairwise
from socket import gethostname

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog
from numpy.typing import NDArray

from cluster.engines import open_engine
from cluster.errors import Conflict, Retryable
from cluster.logs import about
from cluster.records import Outcome
from cluster.settings import Settings
from data_jobs.stages import process_resources
from data_jobs.stages.document_row import DocumentRow, to_rows, to_table, unpack
from data_jobs.stages.map_rows import failed, settled

log = structlog.get_logger(__name__)

#: Calls of the engine before the run ends, and seconds between them where the engine does not say.
TRIES, WAIT_S = 3, 5.0

Ids = list[NDArray[np.int32]]


class Embed:
    """Needs ``chunks``; fills ``vectors``: one for each chunk that is not ``stored``, in their order.

    The chunks of all documents of a call go to the engine together, so that it can pack them by length.

    Args:
        settings: those of the job.
        fingerprint: id of the fingerprint that the store's vectors have.
        fields: stand in every log line: job, organisation.

    Raises:
        Conflict: the model of this node is another one.
        Retryable: the engine does not compute now, after ``TRIES``; that is no fault of a document, so the run ends here and
            the next one goes on.
    """

    def __init__(self, settings: Settings, fingerprint: str, **fields: str) -> None:
        process_resources.configure_logs(settings)
        self.fields = fields
        self.engine = open_engine(settings)
        found = self.engine.fingerprint.id
        if found != fingerprint:
            raise Conflict(
                f"the store holds vectors of {fingerprint}, and the model on node {gethostname()} makes those of {found}: "
                "give every node the same model (CLUSTER_MODEL_PATH)"
            )
        (self.prompt,) = self.engine.tokeniser.ids([self.engine.fingerprint.document_prompt])

    def __call__(self, table: pa.Table) -> pa.Table:
        with about(stage="embed", **self.fields):
            return to_table(self._embed(to_rows(table)))

    def _embed(self, rows: list[DocumentRow]) -> list[DocumentRow]:
        inputs = [[] if settled(row) else new_chunk_ids(unpack(row)) for row in rows]
        try:
            vectors = self._vectors([ids for document in inputs for ids in document])
        except Retryable:
            raise
        except Exception:  # one document must not cost its neighbours: find it
            log.exception("batch_failed", documents=len(rows))
            return [self._alone(row, ids) for row, ids in zip(rows, inputs, strict=True)]
        ends = np.cumsum([len(document) for document in inputs])
        return [
            {**row, "vectors": part.tobytes()}
            for row, part in zip(rows, np.split(vectors, ends[:-1]), strict=True)
        ]

    def _vectors(self, ids: Ids) -> NDArray[np.float32]:
        whole = [np.concatenate([self.prompt, one]) for one in ids] if len(self.prompt) else ids
        for _ in range(TRIES - 1):
            try:
                return self.engine.embed_ids(whole)
            except Retryable as exc:  # memory of a GPU that others use, too, is free again soon
                wait_s = exc.retry_after_s or WAIT_S
                log.warning("engine_away", wait_s=wait_s, reason=str(exc))
                time.sleep(wait_s)
        return self.engine.embed_ids(whole)

    def _alone(self, row: DocumentRow, ids: Ids) -> DocumentRow:
        try:
            return {**row, "vectors": self._vectors(ids).tobytes()}
        except Retryable:
            raise
        except Exception as exc:  # the process edge of a row: recorded as its outcome
            log.exception("stage_failed", document=row["document"])
            return failed(row, Outcome.FAILED, f"embedding failed: {type(exc).__name__}: {exc}")


def new_chunk_ids(chunks: pa.Table) -> Ids:
    """Token ids of each chunk whose vector the index does not have yet."""
    column = chunks.filter(pc.invert(chunks["stored"]))["token_ids"].combine_chunks()
    flat, offsets = column.values.to_numpy(zero_copy_only=False), column.offsets.to_numpy()
    return [flat[start:end] for start, end in pairwise(offsets)]
