"""Write the chunks, the vectors and the outcome of a document, and make its new version current."""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog
from psycopg import Connection

from cluster.database import translated
from cluster.documents import documents
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.indexing import Ahead, ChunkIndex
from cluster.documents.vector_stores.stores import VectorStore
from cluster.errors import Permanent
from cluster.records import Fact, Outcome
from cluster.settings import Settings
from cluster.usage.events import UsageSource, record_usage
from cluster.usage.work import DocumentWork, document_usage
from cluster.vector_index.attributes import SOME_CHUNKS, merged_attributes
from data_jobs.sources import file_name
from data_jobs.stages import process_resources
from data_jobs.stages.budget import DocumentBudget
from data_jobs.stages.database_retry import with_database_retry
from data_jobs.stages.document_row import DocumentRow, to_rows, unpack
from data_jobs.stages.map_rows import failed
from data_jobs.stages.stage_context import in_stage

log = structlog.get_logger(__name__)

#: The columns of the result of the pipeline for one document.
RESULTS = pa.schema(
    {
        "document": pa.string(),
        "source": pa.string(),
        "outcome": pa.string(),
        "detail": pa.string(),
        "unchanged": pa.bool_(),
        "pages": pa.int32(),
        "chunks": pa.int32(),
        "embedded": pa.int32(),
        "tokens": pa.int64(),
        "tokens_embedded": pa.int64(),
    }
)

T = TypeVar("T")
#: Makes all attributes of a chunk from the system attributes of the chunk and the facts about the document.
Attributes = Callable[[dict[str, Any], Mapping[str, Any]], dict[str, Any]]


class Write:
    """Needs every column. Writes the chunks and the outcome of each document, and returns one row of
    ``RESULTS`` for each document. ``fields`` are arguments of ``in_stage``.

    Raises:
        Retryable: the database did not answer for longer than ``database_retry`` waits. The next run writes
            the documents that are missing.
    """

    def __init__(
        self, settings: Settings, store: VectorStore, *, job: str, pipeline_version: str, **fields: str
    ) -> None:
        self.fields = {**fields, "job": job, "organisation": store.organisation}
        self.settings = settings
        self.store = store
        self.job = job
        self.pipeline_version = pipeline_version
        self.budget = DocumentBudget(settings, store, job=job)

    def __call__(self, table: pa.Table) -> pa.Table:
        process_resources.configure_logs(self.settings)
        with in_stage("write", **self.fields):
            return pa.Table.from_pylist([self._write(row) for row in to_rows(table)], schema=RESULTS)

    def _write(self, row: DocumentRow) -> dict[str, Any]:
        indexes = with_database_retry(self.settings, lambda: process_resources.chunk_indexes(self.settings))
        writer = DocumentWriter(
            indexes.of(self.store),
            self.store,
            job=self.job,
            source=UsageSource.INGEST,
            pipeline_version=self.pipeline_version,
            special_tokens=process_resources.special_tokens(self.settings, self.store.fingerprint),
        )
        if row["unchanged"]:
            return self._in_transaction(lambda connection: writer.unchanged(connection, row))
        if Outcome(row["outcome"]).searchable:
            try:
                return with_database_retry(self.settings, lambda: self._success(writer, row))
            except Permanent as exc:
                log.warning(
                    "document_refused", document=row["document"], source=row["source"], reason=str(exc)
                )
                row = failed(row, Outcome.FAILED, f"could not be written: {exc}")
        return self._in_transaction(lambda connection: self._failure(writer, row, connection))

    def _failure(
        self, writer: "DocumentWriter", row: DocumentRow, connection: Connection[Any]
    ) -> dict[str, Any]:
        self.budget.release(connection, row)
        return writer.failure(connection, row)

    def _success(self, writer: "DocumentWriter", row: DocumentRow) -> dict[str, Any]:
        ahead = writer.write_ahead(row)

        def write(connection: Connection[Any]) -> dict[str, Any]:
            written = writer.success(connection, row, ahead)
            self.budget.release(connection, row)
            return written

        result = self._once(write)
        writer.settle()
        return result

    def _in_transaction(self, work: Callable[[Connection[Any]], T]) -> T:
        return with_database_retry(self.settings, lambda: self._once(work))

    def _once(self, work: Callable[[Connection[Any]], T]) -> T:
        pool = process_resources.pool(self.settings)
        with translated(), pool.connection() as connection, connection.transaction():
            return work(connection)


class DocumentWriter:
    """Writes a document's chunks and records its outcome, in the transaction of the caller.

    If an external index holds the vectors, call ``write_ahead`` before that transaction, and ``settle`` after
    the transaction. ``unchanged``, ``success`` and ``failure`` return the document's row of ``RESULTS``.

    Args:
        index: the index of the store.
        store: the vector store.
        job: id of the job.
        source: source of the usage events.
        pipeline_version: version of the pipeline that made the chunks.
        special_tokens: see ``process_resources.special_tokens``.
        attributes: makes the attributes of a chunk; None means the attributes of an ingested document.
    """

    def __init__(
        self,
        index: ChunkIndex,
        store: VectorStore,
        *,
        job: str,
        source: UsageSource,
        pipeline_version: str,
        special_tokens: int,
        attributes: Attributes | None = None,
    ) -> None:
        self._index = index
        self._store = store
        self._job = job
        self._source = source
        self._pipeline_version = pipeline_version
        self._special_tokens = special_tokens
        self._attributes = attributes or (lambda own, facts: merged_attributes(own, facts=facts))

    def unchanged(self, connection: Connection[Any], row: DocumentRow) -> dict[str, Any]:
        """Record that the source was read again and has not changed."""
        organisation = self._store.organisation
        documents.touch(connection, organisation, row["document"], row["stamp"])
        before = documents.known_documents(connection, organisation, self._store.id, [row["document"]])[
            row["document"]
        ]
        return unchanged_result(row["source"], before)

    def write_ahead(self, row: DocumentRow) -> Ahead | None:
        """Write the new vectors to an external index. Return None if this cluster's Postgres holds the
        vectors.

        Raises:
            Permanent: the index refuses the vectors.
        """
        if self._index.external is None:
            return None
        rows = self._index_rows(row, unpack(row))
        return self._index.write_ahead(
            self._store.organisation, self._store.id, rows, collection=self._store.collection
        )

    def settle(self) -> None:
        """Send the waiting changes of the store to an external index, such as the deletion of old vectors."""
        self._index.settle(self._store.organisation, self._store.id)

    def success(
        self, connection: Connection[Any], row: DocumentRow, ahead: Ahead | None = None
    ) -> dict[str, Any]:
        """Make the chunks of the whole document, or of the part that could be read, searchable. Record the
        outcome of the document, and the usage.

        Raises:
            Permanent: the index refuses the chunks.
        """
        chunks = unpack(row)
        lengths = pc.list_value_length(chunks["token_ids"]).to_numpy()
        stored = chunks["stored"].to_numpy()
        documents.lock_document(connection, self._store.organisation, row["document"])
        written = self._index.make_current(
            connection,
            self._store.organisation,
            self._store.id,
            row["document"],
            self._index_rows(row, chunks),
            collection=self._store.collection,
            ahead=ahead,
        )
        written.require_all()
        content = documents.DocumentContent(
            media_type=row["media_type"],
            bytes=row["size"],
            pages=row["pages"],
            pages_with_text=row["pages_with_text"],
            chunks=len(chunks),
            tokens=int(lengths.sum()),
            keywords=row["keywords"],
            outcome=Outcome(row["outcome"]),
            detail=row["detail"],
            facts=json.loads(row["facts"]),
        )
        documents.record_success(connection, self._attempt(row), content)
        tokens_embedded, embedded = int(lengths[~stored].sum()), int((~stored).sum())
        tokens_read = tokens_embedded + embedded * self._special_tokens + row["chunker_tokens"]
        done = DocumentWork(tokens=tokens_read, pages=row["pages"], chunks=written.written)
        self._record_usage(connection, row, done)
        return {
            **result(row["source"], row["document"], content.outcome, content.detail),
            "pages": row["pages"],
            "chunks": len(chunks),
            "embedded": embedded,
            "tokens": content.tokens,
            "tokens_embedded": tokens_embedded,
        }

    def failure(self, connection: Connection[Any], row: DocumentRow) -> dict[str, Any]:
        """Record that this attempt made nothing searchable. An earlier searchable version of the document
        stays.
        """
        outcome = Outcome(row["outcome"])
        documents.record_failure(connection, self._attempt(row), outcome, row["detail"])
        return {**result(row["source"], row["document"], outcome, row["detail"]), "pages": row["pages"]}

    def _record_usage(self, connection: Connection[Any], row: DocumentRow, done: DocumentWork) -> None:
        """Record what this job did for the document. A repeated call does not record the usage again."""
        work = (
            f"{self._store.id}/{row['document']}/{row['content_hash']}/{self._pipeline_version}/{self._job}"
        )
        organisation, model = self._store.organisation, self._store.fingerprint.model
        events = document_usage(organisation, work, done, source=self._source, model=model, job=self._job)
        record_usage(connection, events)

    def _attempt(self, row: DocumentRow) -> documents.DocumentAttempt:
        return documents.DocumentAttempt(
            organisation=self._store.organisation,
            id=row["document"],
            vector_store=self._store.id,
            source=row["source"],
            source_stamp=row["stamp"],
            version=self._pipeline_version,
            job=self._job,
            content_hash=row["content_hash"] or None,
        )

    def _index_rows(self, row: DocumentRow, chunks: pa.Table) -> list[ChunkRecord]:
        facts = json.loads(row["facts"])
        new = iter(np.frombuffer(row["vectors"], dtype=np.float32).reshape(-1, self._store.fingerprint.dim))
        return [
            ChunkRecord(
                id=chunk["id"],
                document=row["document"],
                text=chunk["text"],
                attributes=self._attributes(
                    {
                        "source": row["source"],
                        "filename": file_name(row["source"]),
                        "media_type": row["media_type"],
                        "ordinal": ordinal,
                        "page": chunk["page"],
                        "start": chunk["start"],
                        "end": chunk["end"],
                        "keywords": chunk["keywords"],
                        **{name: chunk[name] for name in SOME_CHUNKS if chunk[name]},
                    },
                    {**facts, Fact.LANGUAGE: chunk["language"]},
                ),
                vector=None if chunk["stored"] else next(new),
            )
            for ordinal, chunk in enumerate(chunks.drop_columns(["token_ids"]).to_pylist())
        ]


def result(source: str, document: str, outcome: Outcome, detail: str) -> dict[str, Any]:
    """Return a row of ``RESULTS`` in which every count is zero."""
    zeros = dict.fromkeys(("pages", "chunks", "embedded", "tokens", "tokens_embedded"), 0)
    return {
        "document": document,
        "source": source,
        "outcome": outcome,
        "detail": detail,
        "unchanged": False,
        **zeros,
    }


def unchanged_result(source: str, before: documents.KnownDocument) -> dict[str, Any]:
    """Return the row of ``RESULTS`` for an unchanged document. If the document is searchable, the row has the
    counts of the last attempt.
    """
    counts = (
        {"pages": before.pages, "chunks": before.chunks, "tokens": before.tokens}
        if before.outcome.searchable
        else {}
    )
    return {**result(source, before.id, before.outcome, before.detail), "unchanged": True, **counts}
