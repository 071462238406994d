"""Make the rows of ``benchmarks.given_vectors`` as a Parquet file, as JSON lines, and as the input of
``COPY``.

    FORMATS["parquet"](file, 200_000, 384)
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import IO, Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cluster.documents.chunks.binary_copy import END, HEADER, binary_rows
from cluster.documents.vector_stores.stores import VectorStore

ORGANISATION = "bench"
#: Number of rows that are made at once.
ROWS_PER_PART = 10_000


def made(count: int, dim: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the vectors in parts, each with the number of its first row. The vectors have unit length and lie
    in 500 clusters, as embeddings do.
    """
    centres = np.random.default_rng(99).normal(size=(500, dim)).astype(np.float32)
    for first in range(0, count, ROWS_PER_PART):
        size = min(ROWS_PER_PART, count - first)
        chance = np.random.default_rng(first)
        found = centres[chance.integers(len(centres), size=size)]
        found += 0.7 * chance.standard_normal(size=(size, dim), dtype=np.float32)
        yield first, found / np.linalg.norm(found, axis=1, keepdims=True)


def named(number: int) -> tuple[str, dict[str, Any]]:
    """Return the id and the attributes of a row."""
    return f"row-{number:08}", {"number": number, "shop": "a"}


def encoded(store: VectorStore, first: int, vectors: NDArray[np.float32]) -> bytes:
    """Return rows in the binary format of COPY, without its header and end."""
    rows = [named(number) for number in range(first, first + len(vectors))]
    ids, attributes = [id for id, _ in rows], [orjson.dumps(of) for _, of in rows]
    return binary_rows(ORGANISATION, store.id, ids, attributes, vectors)[len(HEADER) : -len(END)]


def parquet(file: IO[bytes], count: int, dim: int) -> None:
    """Write the rows as Parquet."""
    writer = None
    for first, vectors in made(count, dim):
        rows = [named(number) for number in range(first, first + len(vectors))]
        part = pa.table(
            {
                "id": [id for id, _ in rows],
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dim),
                "attributes": [of for _, of in rows],
            }
        )
        writer = writer or pq.ParquetWriter(file, part.schema)
        writer.write_table(part)
    assert writer is not None
    writer.close()


def json_lines(file: IO[bytes], count: int, dim: int) -> None:
    """Write the rows as JSON lines, and put a fault into some of them."""
    bad = bad_rows(count)
    for first, vectors in made(count, dim):
        for number, vector in enumerate(vectors, start=first):
            id, attributes = named(number)
            row = {"id": id, "vector": vector, "attributes": attributes} | SPOILT.get(
                bad.get(number + 1, ""), {}
            )
            file.write(orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")


def bad_rows(count: int) -> dict[int, str]:
    """Return the kind of each bad row of a file of JSON lines, by its number from 1."""
    kinds = list(SPOILT)
    return {(place + 1) * count // (BAD + 1): kinds[place % len(kinds)] for place in range(BAD)}


#: Number of bad rows of a file of JSON lines.
BAD = 37
#: For each kind of fault, fields that give a row this fault.
SPOILT: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "dimension": {"vector": [1.0]},
        "zero_length": {"vector": np.zeros(384)},
        "id": {"id": ""},
        "text": {"text": "a\0b"},
        "attributes": {"attributes": {"name": "x" * 600}},
        "duplicate_id": {"id": "row-00000000"},
    }
)
FORMATS: Mapping[str, Callable[[IO[bytes], int, int], None]] = MappingProxyType(
    {"parquet": parquet, "jsonl": json_lines}
)
