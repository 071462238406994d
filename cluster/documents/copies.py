"""Read the records of documents, and write the records of copied documents into another store.

The commands that copy, export and import stores call this module. A copied document can be listed and deleted
like the original, because its record is copied too. A copied document keeps the ids of its chunks. The copy's
own id is made from the new store and the document's source, in the same way as for ingested and attached
documents. So a later ingest of the same source, or a later attachment of the same file, finds the copy.

    with snapshot(pool) as connection:
        for document in read_documents(connection, store): ...
    with connection.transaction():
        write_documents(connection, other, [document], job="job_1")
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from cluster.database.queries import queries
from cluster.documents.vector_stores.stores import VectorStore
from cluster.formats.recognition import OcrMode
from cluster.records import Outcome, document_id
from cluster.settings.documents import MAX_OCR_LANGUAGES, OCR_LANGUAGES

SQL = queries("cluster.documents", "copies.sql")

ROWS_PER_FETCH = 500
Line = Annotated[str, StringConstraints(max_length=100_000)]
Count = Annotated[int, Field(ge=0, lt=1 << 31)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class CopiedFile(_Record):
    """A file that is attached to a store. The fields are columns of the table ``vector_store_files``."""

    file: Line
    status: Literal["completed", "failed", "cancelled", "in_progress"]
    error_code: Line | None = None
    error: Line | None = None
    attributes: dict[str, Any] = {}
    chunking_strategy: dict[str, Any] | None = None
    ocr: OcrMode | None = None
    ocr_languages: (
        Annotated[str, StringConstraints(pattern=OCR_LANGUAGES, max_length=MAX_OCR_LANGUAGES)] | None
    ) = None
    usage_bytes: Annotated[int, Field(ge=0, lt=1 << 62)] = 0
    failed_pages: list[Count] = []
    created_at: datetime


class CopiedDocument(_Record):
    """A document with its last attempt and its searchable version. The fields are columns of the table
    ``documents``.
    """

    source: Line
    source_stamp: Line | None = None
    outcome: Outcome
    detail: Line = ""
    attempted_hash: Line | None = None
    attempted_version: Line
    content_hash: Line | None = None
    pipeline_version: Line | None = None
    media_type: Line | None = None
    bytes: Annotated[int, Field(ge=0, lt=1 << 62)] | None = None
    pages: Count | None = None
    pages_with_text: Count | None = None
    chunks: Count = 0
    tokens: Annotated[int, Field(ge=0, lt=1 << 62)] = 0
    keywords: list[Line] = []
    facts: dict[str, Any] = {}


class Copied(_Record):
    """A document of a store, a file that is attached to the store, or a document with its attached file."""

    #: Id of the document in the store that is copied.
    id: Line
    document: CopiedDocument | None = None
    #: None if no file was attached for the document.
    file: CopiedFile | None = None

    def id_in(self, store: VectorStore) -> str:
        """Return the id of the document's copy in this store."""
        source = self.file.file if self.document is None and self.file is not None else None
        if source is None:
            assert self.document is not None
            source = self.document.source
        return document_id(store.organisation, store.id, source)


def read_documents(connection: Connection[Any], store: VectorStore) -> Iterator[Copied]:
    """Yield the documents of a store, and its attached files that have no document, in the order of the
    documents' ids.

    Args:
        connection: must be in a transaction that stays open until the iteration ends.
    """
    values = {"organisation": store.organisation, "store": store.id}
    with connection.cursor(name="copied_documents", row_factory=dict_row) as cursor:
        cursor.itersize = ROWS_PER_FETCH
        for row in cursor.execute(SQL["read"], values):
            yield Copied.model_validate(row)


def hold_files(connection: Connection[Any], store: VectorStore, files: Sequence[str]) -> set[str]:
    """Return the files that a job of this store is processing at the moment, and lock the rows that attach
    the returned files.
    """
    values = {"organisation": store.organisation, "store": store.id, "files": sorted(files)}
    return {file for (file,) in connection.execute(SQL["busy_files"], values)}


def write_documents(
    connection: Connection[Any], store: VectorStore, copied: Sequence[Copied], *, job: str
) -> None:
    """Record copied documents in the transaction that writes their chunks, and attach their files.

    A file that the organisation does not have is not attached. The document of such a file is then listed
    like a document of a bulk ingest.

    Args:
        job: id of the job that makes the copy.
    """
    values = {"organisation": store.organisation, "store": store.id, "job": job}
    files = [
        {**one.file.model_dump(mode="json"), "document": one.id_in(store)}
        for one in copied
        if one.file is not None
    ]
    documents = [
        {**one.document.model_dump(mode="json"), "id": one.id_in(store)}
        for one in copied
        if one.document is not None
    ]
    if files:
        connection.execute(SQL["write_files"], {**values, "rows": Jsonb(files)})
    if documents:
        connection.execute(SQL["write_documents"], {**values, "rows": Jsonb(documents)})


def count_documents(connection: Connection[Any], store: VectorStore) -> tuple[int, int]:
    """Return the numbers of documents and of attached files of a store."""
    row = connection.execute(SQL["count"], {"organisation": store.organisation, "store": store.id}).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])
