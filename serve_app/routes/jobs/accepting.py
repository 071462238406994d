"""Accept a job of each public kind: one function for each, in the table ``SUBMISSIONS``.

Called by ``submission`` with the validated input of a request, in the transaction of the request.

    job = SUBMISSIONS[kind.name](submission, connection)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from psycopg import Connection
from pydantic import BaseModel, ValidationError

from cluster.documents.batches import batches
from cluster.documents.batches.batches import NewBatch
from cluster.documents.files import get_file, missing_files
from cluster.documents.given_vectors.insert import require_given
from cluster.documents.vector_stores import attaching
from cluster.documents.vector_stores.stores import get_store, require_live
from cluster.errors import InvalidInput, NotFound
from cluster.formats import PARQUET
from cluster.jobs import queue
from cluster.jobs.inputs import BulkInsertVectorsInput, EmbedBatchInput, IndexFileInput, IngestFilesInput
from cluster.jobs.jobs import Job, get_job
from cluster.jobs.kinds import BULK_INSERT_VECTORS, EMBED_BATCH, INDEX_FILE, INGEST_FILES
from cluster.organisations.organisations import StorageLimits
from serve_app.edge.request_model import RequestModel
from serve_app.routes.vector_store_fields import Attributes, ChunkingStrategy, stored_json
from serve_app.routes.vector_store_files import AttachRequest
from serve_app.service import Service

#: Media types of files whose rows can be read; A file of JSON lines with some purposes is recognised as plain
#: text.
ROW_FILES = frozenset({PARQUET, "application/jsonl", "text/plain"})

M = TypeVar("M", bound=BaseModel)


class SharedByFiles(RequestModel):
    """The fields that a job that attaches many files sets for each file."""

    attributes: Attributes | None = None
    chunking_strategy: ChunkingStrategy | None = None


def validated(model: type[M], value: Any, *, body: Any) -> M:
    """Validate the input. Errors name its fields as the client wrote them.

    Args:
        body: the whole body of the request, from which the route removes unknown fields.
    """
    try:
        return model.model_validate(value)
    except ValidationError as exc:
        errors = [{**error, "loc": ("body", "input", *error["loc"])} for error in exc.errors()]
        raise RequestValidationError(errors, body=body) from exc


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A job that a request asks for."""

    service: Service
    organisation: str
    #: The validated input, an instance of the kind's ``input``.
    input: Any
    #: The whole body of the request, for messages about its fields.
    body: Any
    #: The arguments ``priority_class``, ``priority``, ``attempts`` and ``run_at`` for functions that queue a
    #: job.
    options: Mapping[str, Any]


def _index_file(submission: Submission, connection: Connection[Any]) -> Job:
    """Attach the file as the route of the store's files does. If the file has an open job, that job may
    continue, and no new job is queued.
    """
    asked: IndexFileInput = submission.input
    store = get_store(connection, submission.organisation, asked.vector_store_id)
    submission.service.require_configured(store)
    body = validated(AttachRequest, asked.model_dump(exclude={"vector_store_id"}), body=submission.body)
    attached = attaching.attach(
        connection,
        store,
        body.file_id,
        attributes=body.attributes,
        chunking_strategy=stored_json(body.chunking_strategy),
        **submission.options,
    )
    return get_job(connection, submission.organisation, attached.job)


def _ingest_files(submission: Submission, connection: Connection[Any]) -> Job:
    """Queue a job that attaches many files of the organisation to a store."""
    asked: IngestFilesInput = submission.input
    organisation = submission.organisation
    store = require_live(get_store(connection, organisation, asked.vector_store_id))
    submission.service.require_configured(store)
    shared = asked.model_dump(include={"attributes", "chunking_strategy"})
    body = validated(SharedByFiles, shared, body=submission.body)
    files = None if asked.file_ids is None else sorted({*asked.file_ids})
    if files is not None and (missing := missing_files(connection, organisation, files)):
        raise NotFound(f"file {missing[0]!r} does not exist; nothing was queued")
    input = {
        "vector_store": store.id,
        "files": files,
        "attributes": body.attributes or {},
        "chunking_strategy": stored_json(body.chunking_strategy),
    }
    return queue.submit(connection, organisation, INGEST_FILES, input, subject=store.id, **submission.options)


def _bulk_insert_vectors(submission: Submission, connection: Connection[Any]) -> Job:
    """Queue the insertion of a file of the organisation into one of its stores."""
    asked: BulkInsertVectorsInput = submission.input
    organisation = submission.organisation
    store = require_given(require_live(get_store(connection, organisation, asked.vector_store_id)))
    file = get_file(connection, organisation, asked.file_id)
    if file.media_type not in ROW_FILES:
        raise InvalidInput(
            f"file {file.id} is {file.media_type}; given vectors are read from JSON lines or Parquet",
            param="input.file_id",
        )
    input = {"vector_store": store.id, "file": file.id}
    return queue.submit(
        connection, organisation, BULK_INSERT_VECTORS, input, subject=store.id, **submission.options
    )


def _embed_batch(submission: Submission, connection: Connection[Any]) -> Job:
    """Create a batch as the route of the batches does."""
    asked: EmbedBatchInput = submission.input
    new = NewBatch(
        input_file=asked.input_file_id, completion_window=asked.completion_window, metadata=asked.metadata
    )
    limits = StorageLimits.of(submission.service.settings)
    try:
        batch = batches.create_batch(
            connection, submission.organisation, new, default_limits=limits, **submission.options
        )
    except InvalidInput as exc:
        raise InvalidInput(str(exc), param=f"input.{exc.param}") from exc
    return get_job(connection, submission.organisation, batch.job)


#: The function that accepts a job of each public kind, in the transaction of the request.
SUBMISSIONS: Mapping[str, Callable[[Submission, Connection[Any]], Job]] = MappingProxyType(
    {
        INDEX_FILE.name: _index_file,
        EMBED_BATCH.name: _embed_batch,
        INGEST_FILES.name: _ingest_files,
        BULK_INSERT_VECTORS.name: _bulk_insert_vectors,
    }
)
