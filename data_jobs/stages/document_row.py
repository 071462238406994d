"""The row that travels through the bulk pipeline: one document, its chunks in one packed column.

A document stays one row from its first byte to its transaction, so that whatever happens to a block of rows, a
document is written whole or not at all. Every table has the same typed columns (``ROWS``) whatever its rows hold. The
chunks ride in ``chunks`` as one Arrow table (``CHUNKS``) in IPC form, so that they are never taken apart on the way.
"""

from collections.abc import Sequence
from typing import TypedDict, cast

import pyarrow as pa

from cluster.records import Outcome, Page

#: One line for each chunk; ``stored`` marks those whose vector the index has already.
CHUNKS = pa.schema(
    {
        "id": pa.string(),
        "page": pa.int32(),
        "start": pa.int32(),
        "end": pa.int32(),
        "text": pa.large_string(),
        "keywords": pa.list_(pa.string()),
        "token_ids": pa.list_(pa.int32()),
        "stored": pa.bool_(),
    }
)

ROWS = pa.schema(
    {
        "document": pa.string(),
        "source": pa.string(),
        "stamp": pa.string(),
        "known_hash": pa.string(),
        "content_hash": pa.string(),
        "unchanged": pa.bool_(),
        "outcome": pa.string(),
        "detail": pa.string(),
        "facts": pa.string(),
        "media_type": pa.string(),
        "size": pa.int64(),
        "content": pa.large_binary(),
        "page_texts": pa.large_list(pa.large_string()),
        "pages": pa.int32(),
        "pages_with_text": pa.int32(),
        "keywords": pa.list_(pa.string()),
        "chunks": pa.large_binary(),
        "vectors": pa.large_binary(),
    }
)


class DocumentRow(TypedDict):
    """Columns of the pipeline; each stage's docstring names those it reads and fills."""

    document: str
    source: str
    #: Size and modification time or etag of the source, as listed.
    stamp: str
    #: Hash at the last settled attempt under this pipeline version; "" when there was none.
    known_hash: str
    content_hash: str
    #: True when the bytes are those of the last settled attempt; every later stage passes the row on.
    unchanged: bool
    outcome: str
    detail: str
    #: ``records.Facts`` as JSON.
    facts: str
    media_type: str
    size: int
    content: bytes
    page_texts: list[str]
    pages: int
    pages_with_text: int
    keywords: list[str]
    chunks: bytes
    #: (new chunks, dim) float32, row-major, in the order of the chunks not yet stored.
    vectors: bytes


def new_row(document: str, source: str, stamp: str, *, known_hash: str = "") -> DocumentRow:
    """A document nobody has read yet."""
    return DocumentRow(
        document=document,
        source=source,
        stamp=stamp,
        known_hash=known_hash,
        content_hash="",
        unchanged=False,
        outcome=Outcome.OK,
        detail="",
        facts="{}",
        media_type="",
        size=0,
        content=b"",
        page_texts=[],
        pages=0,
        pages_with_text=0,
        keywords=[],
        chunks=pack(CHUNKS.empty_table()),
        vectors=b"",
    )


def to_table(rows: Sequence[DocumentRow]) -> pa.Table:
    """The rows as a table with the schema ``ROWS``."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=ROWS)


def to_rows(table: pa.Table) -> list[DocumentRow]:
    """The table's rows; none for the empty, column-less tables that Ray Data sometimes sends."""
    return cast(list[DocumentRow], table.to_pylist())


def pack(chunks: pa.Table) -> bytes:
    """The table as bytes, for the ``chunks`` column."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, CHUNKS) as writer:
        writer.write_table(chunks)
    return bytes(sink.getvalue())


def unpack(row: DocumentRow) -> pa.Table:
    """The row's chunks as a table with the schema ``CHUNKS``."""
    with pa.ipc.open_stream(row["chunks"]) as reader:
        return reader.read_all()


def pages_of(row: DocumentRow) -> list[Page]:
    """The row's pages, numbered from 1."""
    return [Page(number=number, text=text) for number, text in enumerate(row["page_texts"], start=1)]


def with_chunk_column(row: DocumentRow, chunks: pa.Table, name: str, values: Sequence[object]) -> DocumentRow:
    """The row, with another column ``name`` of its chunks; one value for each chunk."""
    position = CHUNKS.get_field_index(name)
    return {
        **row,
        "chunks": pack(
            chunks.set_column(position, CHUNKS.field(name), pa.array(values, CHUNKS.field(name).type))
        ),
    }
