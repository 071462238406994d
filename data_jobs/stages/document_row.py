"""Define the row of the bulk pipeline: one document, with its chunks packed into one column.

A document stays one row from its first byte to its transaction, so the document is written whole or not at
all, even if Ray loses or repeats a block of rows. Every table has the same typed columns (``ROWS``), even if
values are missing. The column ``structures`` has the structure of each page as JSON, not as typed columns,
because most pages have no structure. The column ``chunks`` is an Arrow table (``CHUNKS``) in IPC form, so Ray
Data never splits the chunks of a document.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TypedDict, cast

import pyarrow as pa

from cluster.page_structure import PLACE_NAMES, PROSE
from cluster.records import Facts, Outcome, Page
from cluster.vector_index.attributes import CONTEXT_CHARACTERS
from data_jobs.stages.parsing.read_structure import read_structure

#: One row per chunk. ``text`` begins with the context of the chunk. ``stored`` is true if the index already
#: has the vector of the chunk.
CHUNKS = pa.schema(
    {
        "id": pa.string(),
        "page": pa.int32(),
        "start": pa.int32(),
        "end": pa.int32(),
        "text": pa.large_string(),
        "keywords": pa.list_(pa.string()),
        "language": pa.string(),
        "token_ids": pa.list_(pa.int32()),
        "stored": pa.bool_(),
        **dict.fromkeys(PLACE_NAMES, pa.string()),
        CONTEXT_CHARACTERS: pa.int32(),
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
        "structures": pa.large_list(pa.large_string()),
        "pages": pa.int32(),
        "pages_with_text": pa.int32(),
        "keywords": pa.list_(pa.string()),
        "chunks": pa.large_binary(),
        "chunker_tokens": pa.int64(),
        "vectors": pa.large_binary(),
    }
)


class DocumentRow(TypedDict):
    """The columns of the pipeline. The docstring of each stage names the columns that it uses and fills."""

    document: str
    source: str
    #: See ``SourceFile.stamp``.
    stamp: str
    #: Hash of the bytes at the last attempt with this pipeline version, if this attempt need not be repeated;
    #: otherwise "".
    known_hash: str
    content_hash: str
    #: True if the bytes are the same as at the attempt of ``known_hash``. Later stages do not change an
    #: unchanged row.
    unchanged: bool
    outcome: str
    detail: str
    #: ``records.Facts`` as JSON.
    facts: str
    media_type: str
    size: int
    content: bytes
    page_texts: list[str]
    #: The structure of each page as JSON, "" for a page of prose; empty if all pages are prose.
    structures: list[str]
    pages: int
    pages_with_text: int
    keywords: list[str]
    chunks: bytes
    #: Number of tokens that the model read for the chunker, special tokens included.
    chunker_tokens: int
    #: Vectors of the chunks whose vectors are not stored yet, in the order of these chunks: (number of these
    #: chunks, dim) float32, row-major.
    vectors: bytes


class PageColumns(TypedDict):
    """The columns with the pages of a document. They are filled and emptied together."""

    page_texts: list[str]
    structures: list[str]


def new_row(document: str, source: str, stamp: str, *, known_hash: str = "") -> DocumentRow:
    """Make the row of a document before its first stage."""
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
        structures=[],
        pages=0,
        pages_with_text=0,
        keywords=[],
        chunks=pack(CHUNKS.empty_table()),
        chunker_tokens=0,
        vectors=b"",
    )


def to_table(rows: Sequence[DocumentRow]) -> pa.Table:
    """Return the rows as a table with the schema ``ROWS``."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=ROWS)


def to_rows(table: pa.Table) -> list[DocumentRow]:
    """Return the rows of a table. An empty table without columns, which Ray Data sometimes sends, has no
    rows.
    """
    return cast(list[DocumentRow], table.to_pylist())


def pack(chunks: pa.Table) -> bytes:
    """Return a table of chunks as bytes, for the column ``chunks``."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, CHUNKS) as writer:
        writer.write_table(chunks)
    return bytes(sink.getvalue())


def unpack(row: DocumentRow) -> pa.Table:
    """Return the chunks of the row as a table with the schema ``CHUNKS``."""
    with pa.ipc.open_stream(row["chunks"]) as reader:
        return reader.read_all()


def with_facts(row: DocumentRow, facts: Facts) -> DocumentRow:
    """Return the row with more facts about its document."""
    return {**row, "facts": json.dumps({**json.loads(row["facts"]), **facts})}


def pages_of(row: DocumentRow) -> list[Page]:
    """Return the pages of the row, numbered from 1."""
    texts = row["page_texts"]
    structures = row["structures"] or [""] * len(texts)
    return [
        Page(
            number=number,
            text=text,
            structure=read_structure(json.loads(written), length=len(text)) if written else PROSE,
        )
        for number, (text, written) in enumerate(zip(texts, structures, strict=True), start=1)
    ]


def page_columns(pages: Sequence[Page]) -> PageColumns:
    """Return the columns ``page_texts`` and ``structures`` for these pages."""
    prose = all(page.structure == PROSE for page in pages)
    return PageColumns(
        page_texts=[page.text for page in pages],
        structures=[]
        if prose
        else [
            "" if page.structure == PROSE else json.dumps(asdict(page.structure), ensure_ascii=False)
            for page in pages
        ],
    )


def with_chunk_column(row: DocumentRow, chunks: pa.Table, name: str, values: Sequence[object]) -> DocumentRow:
    """Return the row with these chunks, whose column ``name`` is ``values``, one value per chunk."""
    position = CHUNKS.get_field_index(name)
    return {
        **row,
        "chunks": pack(
            chunks.set_column(position, CHUNKS.field(name), pa.array(values, CHUNKS.field(name).type))
        ),
    }
