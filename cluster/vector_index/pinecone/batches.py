"""Divide vectors into requests for Pinecone, by the number of rows and the bytes of the JSON.

Numbers are sent as the shortest decimals that mean the same float32, such as 0.1 for 0.10000000149011612. So
a request of 2 MB holds 1.6 times as many rows.

    for batch in batches(records):                      # each batch is one request
        client.upsert(vectors=batch.vectors, namespace=namespace)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from cluster.vector_index.contract import VectorRecord
from cluster.vector_index.pinecone.ids import pinecone_id
from cluster.vector_index.pinecone.metadata import metadata_of

#: Maximum number of vectors in one request of upserts (Pinecone's limit).
MAX_ROWS = 1_000
#: Maximum number of bytes of one request of upserts (Pinecone's limit).
MAX_BYTES = 2_000_000
#: Maximum number of bytes of a request without vectors: the names of the fields, and the longest namespace.
ENVELOPE_BYTES = 600


@dataclass(frozen=True, kw_only=True, slots=True)
class UpsertBatch:
    """The vectors of one request, in Pinecone's JSON."""

    vectors: Sequence[Mapping[str, Any]]
    #: Size of the request in bytes.
    bytes: int

    @property
    def ids(self) -> list[str]:
        """The vectors' ids on Pinecone."""
        return [vector["id"] for vector in self.vectors]

    def halves(self) -> "tuple[UpsertBatch, UpsertBatch]":
        """Divide a batch of several vectors into two batches."""
        middle = len(self.vectors) // 2
        first = sum(map(_json_bytes, self.vectors[:middle])) + ENVELOPE_BYTES
        return (
            UpsertBatch(vectors=self.vectors[:middle], bytes=first),
            UpsertBatch(vectors=self.vectors[middle:], bytes=self.bytes - first + ENVELOPE_BYTES),
        )


def batches(records: Sequence[VectorRecord], *, max_bytes: int = MAX_BYTES) -> Iterator[UpsertBatch]:
    """Yield one batch for each request that sends these records. Each batch is as large as the limits allow.

    A single vector that is larger than ``max_bytes`` is a request of its own.
    """
    vectors: list[Mapping[str, Any]] = []
    size = ENVELOPE_BYTES
    for record in records:
        vector = vector_json(record.id, record.vector, record.attributes)
        length = _json_bytes(vector)
        if vectors and (len(vectors) == MAX_ROWS or size + length > max_bytes):
            yield UpsertBatch(vectors=vectors, bytes=size)
            vectors, size = [], ENVELOPE_BYTES
        vectors.append(vector)
        size += length
    if vectors:
        yield UpsertBatch(vectors=vectors, bytes=size)


def vector_json(id: str, vector: NDArray[np.float32], attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a vector in the JSON form of Pinecone's API."""
    return {"id": pinecone_id(id), "values": numbers_of(vector), "metadata": metadata_of(attributes)}


def numbers_of(vector: NDArray[np.float32]) -> list[float]:
    """Return the numbers of a float32 vector as floats whose JSON is as short as possible.

    Reading the JSON as float32 gives the same vector.
    """
    values: list[float] = orjson.loads(
        orjson.dumps(np.ascontiguousarray(vector, np.float32), option=orjson.OPT_SERIALIZE_NUMPY)
    )
    return values


def _json_bytes(vector: Mapping[str, Any]) -> int:
    """Return the number of bytes of a vector in the request, with the comma after it."""
    return len(orjson.dumps(vector)) + 1
