"""Write and read a store as one Parquet file, with a row for each chunk. The file's metadata has the
fingerprint of the vectors.

Columns: ``id``, ``document``, ``text``, ``page``, ``start``, ``end``, ``attributes`` (JSON), ``vector`` (a
fixed number of float32), ``record`` (JSON: the document's record, with its attached file). ``page``,
``start`` and ``end`` repeat values of ``attributes`` for people who read the file with other tools; an import
reads only ``attributes``. The rows of a document follow each other, and documents are ordered by id.

    with StoreFileWriter("/srv/handbook.parquet", store) as file: file.write(part)
    for part in StoreFileReader("/srv/handbook.parquet").parts(1_000): ...

A file is not trusted: types, sizes, JSON and order are checked, and no content is executed or unpickled.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from cluster.documents.chunks.chunk_rows import ROWS_PER_TRANSACTION, ChunkRecord
from cluster.documents.copies import Copied
from cluster.documents.vector_stores.stores import VectorStore
from cluster.engines.contract import Fingerprint
from cluster.errors import InvalidInput
from cluster.vector_index.attributes import system_attributes
from data_jobs.transfer.places import open_to_read, open_to_write
from data_jobs.transfer.reading import Part
from data_jobs.transfer.store_record import ExportedStrategy, StoreRecord

METADATA_KEY, FORMAT = b"embedding_cluster", 1
#: Maximum sizes of parts of a file. The sizes are checked, because a file can claim any size. An export
#: writes much smaller parts.
MAX_METADATA_BYTES, MAX_JSON_CHARACTERS = 16 * 1024 * 1024, 1024 * 1024
MAX_ROW_GROUP_BYTES = 1024 * 1024 * 1024
MAX_DOCUMENT_CHUNKS = 250_000
#: Maximum number of dimensions of a vector, the same as in pgvector.
MAX_DIMENSIONS = 16_000
COLUMNS = ("id", "document", "text", "attributes", "vector", "record")


class StoreMetadata(BaseModel):
    """The metadata that an export writes into a file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int
    fingerprint: dict[str, Any]
    name: str = Field(default="", max_length=256)
    store: StoreRecord = StoreRecord()


def schema(store: VectorStore) -> pa.Schema:
    """Return the schema of the file of a store, with the metadata."""
    described = {
        "format": FORMAT,
        "fingerprint": store.fingerprint.to_dict(),
        "name": store.name,
        "store": StoreRecord.of(store).model_dump(mode="json", exclude_none=True),
    }
    return pa.schema(
        {
            "id": pa.string(),
            "document": pa.string(),
            "text": pa.string(),
            "page": pa.int32(),
            "start": pa.int32(),
            "end": pa.int32(),
            "attributes": pa.string(),
            "vector": pa.list_(pa.float32(), store.fingerprint.dim),
            "record": pa.string(),
        },
        metadata={METADATA_KEY: json.dumps(described).encode()},
    )


class StoreFileWriter:
    """Writes parts of a store into a file. The file appears when the block ends without an error.

    Args:
        location: a path, or a URI; see ``sources.SCHEMES``.
    """

    def __init__(self, location: str, store: VectorStore) -> None:
        self._place, self._schema = open_to_write(location), schema(store)

    def __enter__(self) -> Self:
        self._writer = pq.ParquetWriter(
            self._place.__enter__(),
            self._schema,
            compression="zstd",
            use_dictionary=["document", "record"],
        )
        return self

    def write(self, part: Part) -> int:
        """Write the part as a row group, and return the number of chunks in the part."""
        rows: list[tuple[ChunkRecord, str | None]] = [(row, None) for row in part.chunks]
        for copied, chunks in part.documents:
            record = copied.model_dump_json()
            rows += [(row, record) for row in chunks]
        if rows:
            self._writer.write_table(self._table(rows))
        return len(rows)

    def _table(self, rows: list[tuple[ChunkRecord, str | None]]) -> pa.Table:
        ranges = [system_attributes(row.attributes) for row, _ in rows]
        dim = self._schema.field("vector").type.list_size
        numbers = np.concatenate([row.vector for row, _ in rows if row.vector is not None])
        columns = {
            "id": [row.id for row, _ in rows],
            "document": [row.document for row, _ in rows],
            "text": [row.text for row, _ in rows],
            **{name: [_int32(own.get(name)) for own in ranges] for name in ("page", "start", "end")},
            "attributes": [json.dumps(dict(row.attributes), ensure_ascii=False) for row, _ in rows],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(numbers, pa.float32()), dim),
            "record": [record for _, record in rows],
        }
        return pa.table(columns, schema=self._schema)

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        try:
            self._writer.close()
        finally:
            self._place.__exit__(kind, *error)


@dataclass(frozen=True, slots=True)
class _Row:
    chunk: ChunkRecord
    record: str | None


class StoreFileReader:
    """Reads a file that an export wrote. Use a reader in a ``with`` block.

    Raises:
        NotFound: (at the start of the block) there is no such file.
        InvalidInput: (at the start of the block) the file was not written by an export; the message says what
            is wrong.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self._place = open_to_read(location)

    def __enter__(self) -> Self:
        file = self._place.__enter__()
        try:
            self._file = pq.ParquetFile(
                file,
                thrift_string_size_limit=MAX_METADATA_BYTES,
                thrift_container_size_limit=MAX_METADATA_BYTES,
            )
            self._check()
        except (pa.ArrowException, OSError) as exc:
            self._place.__exit__(None, None, None)
            raise InvalidInput(f"{self.location} is not a Parquet file that can be read: {exc}") from exc
        except BaseException:
            self._place.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        self._place.__exit__(kind, *error)

    @property
    def rows(self) -> int:
        """Number of chunks in the file."""
        return int(self._file.metadata.num_rows)

    def parts(self, size: int) -> Iterator[Part]:
        """Yield the documents with their chunks, and the chunks without a document, in the order of the file.

        Args:
            size: a part ends when it has at least this many chunks. A document is never divided between
            parts.

        Raises:
            InvalidInput: a row is wrong, or the rows of documents are in the wrong order. The message names
                the row, counted from 1, or the document.
        """
        part, group, last = Part(), list[_Row](), ""
        for row in self._rows():
            if group and (row.record is None or row.chunk.document != group[0].chunk.document):
                part.documents.append(self._document(group))
                group = []
            if part.size + len(group) >= size and not group:
                yield part
                part = Part()
            if row.record is None:
                part.chunks.append(row.chunk)
                continue
            if not group and row.chunk.document <= last:
                raise InvalidInput(
                    f"{self.location}: the rows of document {row.chunk.document!r} do not follow each other, "
                    "or documents are not in the order of their ids; export the store again"
                )
            last = row.chunk.document
            group.append(row)
            if len(group) > MAX_DOCUMENT_CHUNKS:
                raise InvalidInput(
                    f"{self.location}: document {last!r} has more than {MAX_DOCUMENT_CHUNKS:,} chunks"
                )
        if group:
            part.documents.append(self._document(group))
        yield part

    def _check(self) -> None:
        found, metadata = self._file.schema_arrow, self._file.metadata
        missing = [name for name in COLUMNS if name not in found.names]
        if missing:
            raise InvalidInput(
                f"{self.location} has no column {missing[0]!r}; it is not a file of data_jobs.export_store"
            )
        for name in ("id", "document", "text", "attributes", "record"):
            if found.field(name).type not in (pa.string(), pa.large_string()):
                raise InvalidInput(
                    f"{self.location}: column {name!r} is {found.field(name).type}, not string"
                )
        self.fingerprint = self._fingerprint()
        wanted = pa.list_(pa.float32(), self.fingerprint.dim)
        if found.field("vector").type != wanted:
            raise InvalidInput(
                f"{self.location}: column 'vector' is {found.field('vector').type}, but the fingerprint has "
                f"{self.fingerprint.dim} dimensions, so it must be {wanted}"
            )
        largest = max(
            (metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups)), default=0
        )
        if largest > MAX_ROW_GROUP_BYTES:
            raise InvalidInput(
                f"{self.location}: a row group has {largest:,} bytes; {MAX_ROW_GROUP_BYTES:,} are the most"
            )

    def _fingerprint(self) -> Fingerprint:
        text = (self._file.schema_arrow.metadata or {}).get(METADATA_KEY)
        if text is None:
            raise InvalidInput(
                f"{self.location} has no fingerprint in its metadata; it is not a file of "
                "data_jobs.export_store"
            )
        try:
            metadata = StoreMetadata.model_validate_json(text)
            if metadata.format != FORMAT:
                raise InvalidInput(
                    f"{self.location} has format {metadata.format}, and this release reads {FORMAT}; "
                    "upgrade this installation"
                )
            self.name, self.store = metadata.name, metadata.store
            fingerprint = TypeAdapter(Fingerprint).validate_json(
                json.dumps(metadata.fingerprint), strict=True
            )
        except ValidationError as exc:
            raise InvalidInput(f"{self.location}: its metadata is wrong: {_first(exc)}") from exc
        if not 1 <= fingerprint.dim <= MAX_DIMENSIONS:
            raise InvalidInput(
                f"{self.location}: its vectors have {fingerprint.dim} dimensions; they may have 1 to "
                f"{MAX_DIMENSIONS:,}"
            )
        return fingerprint

    def _rows(self) -> Iterator[_Row]:
        number = 0
        try:
            for batch in self._file.iter_batches(
                ROWS_PER_TRANSACTION, columns=list(COLUMNS), use_threads=False
            ):
                vectors = self._vectors(batch.column("vector"), number)
                texts = (batch.column(name).to_pylist() for name in COLUMNS if name != "vector")
                for n, (id, document, text, attributes, record) in enumerate(zip(*texts, strict=True)):
                    number += 1
                    if id is None or document is None or text is None:
                        raise InvalidInput(f"{self.location}: row {number} has no id, document or text")
                    chunk = ChunkRecord(
                        id=id,
                        document=document,
                        text=text,
                        attributes=self._object(attributes, number, "attributes"),
                        vector=vectors[n],
                    )
                    yield _Row(chunk, record)
        except (pa.ArrowException, OSError) as exc:
            raise InvalidInput(f"{self.location} cannot be read after row {number}: {exc}") from exc

    def _vectors(self, column: pa.FixedSizeListArray, before: int) -> Any:
        if column.null_count or column.flatten().null_count:
            raise InvalidInput(
                f"{self.location}: one of the rows {before + 1} to {before + len(column)} has no whole vector"
            )
        return column.flatten().to_numpy().reshape(-1, self.fingerprint.dim).copy()

    def _object(self, text: str | None, number: int, column: str) -> dict[str, Any]:
        try:
            if text is not None and len(text) <= MAX_JSON_CHARACTERS:
                value = json.loads(text)
                if isinstance(value, dict):
                    return value
        except (ValueError, RecursionError):
            pass
        raise InvalidInput(
            f"{self.location}: column {column!r} of row {number} is not a JSON object of at most "
            f"{MAX_JSON_CHARACTERS:,} characters"
        )

    def _document(self, rows: list[_Row]) -> tuple[Copied, list[ChunkRecord]]:
        record = rows[0].record
        assert record is not None
        try:
            copied = Copied.model_validate_json(record)
            if copied.file is not None and copied.file.chunking_strategy is not None:
                ExportedStrategy.model_validate(copied.file.chunking_strategy)
        except ValidationError as exc:
            raise InvalidInput(
                f"{self.location}: the record of document {rows[0].chunk.document!r} is wrong: {_first(exc)}"
            ) from exc
        return copied, [row.chunk for row in rows]


def _first(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, fault['loc'])) or 'JSON'}: {fault['msg']}"


def _int32(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 31 else None
