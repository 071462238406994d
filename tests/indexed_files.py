"""Files of vector stores, without their bytes. The test finishes their jobs itself, as a worker would."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from cluster.documents import documents
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores.store_files import (
    FileStatus,
    StoreFile,
    get_store_file,
    hold,
    record_status,
)
from cluster.documents.vector_stores.stores import VectorStore
from cluster.jobs import attempts
from cluster.jobs.jobs import JobState, get_job
from cluster.records import chunk_id
from cluster.vector_index.attributes import merged_attributes

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


def make_files(connection: Connection[Any], organisation: str, count: int = 1) -> list[str]:
    """Insert files and return their ids. Lists show them as the oldest: an id begins with the time."""
    ids = [f"file-00000000{uuid4().hex[:18]}" for _ in range(count)]
    connection.cursor().executemany(
        "INSERT INTO files (organisation, id, filename, purpose, bytes, sha256, media_type)"
        " VALUES (%s, %s, %s, 'assistants', 10, 'aa', 'text/plain')",
        [(organisation, id, f"{n}.txt") for n, id in enumerate(ids)],
    )
    return ids


def end_job(
    connection: Connection[Any], organisation: str, id: str, state: JobState, error: str = "it failed"
) -> None:
    """End a running job as its worker does."""
    job = get_job(connection, organisation, id)
    if state == JobState.SUCCEEDED:
        attempts.finish(connection, job, result={})
    elif state == JobState.CANCELLED:
        attempts.end_cancelled(connection, job)
    else:
        attempts.fail(connection, job, error, code="unavailable")


def begin(connection: Connection[Any], organisation: str, job: str) -> None:
    """Set the job to running."""
    connection.execute(
        "UPDATE jobs SET state = 'running', stage = 'parse' WHERE organisation = %s AND id = %s",
        [organisation, job],
    )


def process(
    connection: Connection[Any],
    index: ChunkIndex,
    store: VectorStore,
    file: str,
    texts: Sequence[str],
    *,
    embed: Embed,
    job: str = "",
) -> bool:
    """Make the file searchable, one page for each text. False when the file is no longer attached."""
    key = (store.organisation, store.id, file)
    job = job or get_store_file(connection, *key).job
    begin(connection, store.organisation, job)
    ahead = None
    if index.external is not None:
        rows = _rows(store, get_store_file(connection, *key), texts, embed)
        ahead = index.write_ahead(store.organisation, store.id, rows, collection=store.collection)
    with connection.transaction():
        attached = hold(connection, *key, job)
        if attached is None:
            return False
        rows = _rows(store, attached, texts, embed)
        index.make_current(
            connection,
            store.organisation,
            store.id,
            attached.document,
            rows,
            collection=store.collection,
            ahead=ahead,
        )
        _record(connection, store, file, attached.document, job, len(rows))
        record_status(
            connection,
            *key,
            job,
            status=FileStatus.COMPLETED,
            usage_bytes=sum(map(len, texts)),
            failed_pages=[],
        )
        end_job(connection, store.organisation, job, JobState.SUCCEEDED)
    index.settle(store.organisation, store.id)
    return True


def _rows(store: VectorStore, attached: StoreFile, texts: Sequence[str], embed: Embed) -> list[ChunkRecord]:
    own = {"source": attached.file, "filename": attached.filename, "media_type": "text/plain", "keywords": []}
    return [
        ChunkRecord(
            id=chunk_id(attached.document, text, 0, store.fingerprint.id),
            document=attached.document,
            text=text,
            attributes=merged_attributes(
                {**own, "ordinal": n, "page": n + 1, "start": 0, "end": len(text)},
                attached.attributes,
                file=attached.file,
            ),
            vector=vector,
        )
        for n, (text, vector) in enumerate(zip(texts, embed(texts), strict=True))
    ]


def fail(connection: Connection[Any], store: VectorStore, file: str, code: str, error: str) -> None:
    """Make the file's job a dead letter with this error code and message."""
    job = get_store_file(connection, store.organisation, store.id, file).job
    connection.execute(
        "UPDATE jobs SET state = 'failed', error_code = %s, error = %s, finished_at = now()"
        " WHERE organisation = %s AND id = %s",
        [code, error, store.organisation, job],
    )


def _record(
    connection: Connection[Any], store: VectorStore, file: str, document: str, job: str, chunks: int
) -> None:
    attempt = documents.DocumentAttempt(
        organisation=store.organisation,
        id=document,
        vector_store=store.id,
        source=file,
        source_stamp="",
        version="1",
        job=job,
        content_hash="aa",
    )
    content = documents.DocumentContent(
        media_type="text/plain",
        bytes=10,
        pages=chunks,
        pages_with_text=chunks,
        chunks=chunks,
        tokens=chunks,
        keywords=[],
    )
    documents.record_success(connection, attempt, content)
