"""Write many rows of a chunk table in the binary format of ``COPY``, without a Python object for each number.

    data = binary_rows("acme", "vs_1", ["a", "b"], [b"{}", b"{}"], vectors)
    with cursor.copy(statements.copy_new()) as copy:
        copy.write(data)

``psycopg`` can also write such rows, but it writes one field at a time, which takes several times as long.
The manual of Postgres describes the format under ``COPY``. The function ``vector_send`` of pgvector shows the
format of a vector.
"""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cluster.vector_index.words import WORDS_VERSION

#: The header: the signature, the flags, and the length of the header's extension.
HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
END = struct.pack(">h", -1)
#: Number of columns of ``ChunkStatements.copy_new``.
COLUMNS = 8
#: First byte of a binary ``jsonb``: the version of its format.
JSONB_VERSION = b"\x01"
_length = struct.Struct(">i").pack


def binary_rows(
    organisation: str,
    store: str,
    ids: Sequence[str],
    attributes: Sequence[bytes],
    vectors: NDArray[np.float32],
) -> bytes:
    """Encode rows without texts as the input of ``ChunkStatements.copy_new``, ordered by id.

    Args:
        ids: id of each row; the row's document has the same id.
        attributes: JSON of each row's attributes.
        vectors: (n, dim) float32.
    """
    ends = _vectors_and_versions(vectors)
    size = len(ends) // max(1, len(ids))
    owner = struct.pack(">h", COLUMNS) + _field(organisation) + _field(store)
    no_text = _length(0)
    parts: list[bytes | memoryview] = [HEADER]
    for place in sorted(range(len(ids)), key=ids.__getitem__):
        id, json = _field(ids[place]), attributes[place]
        parts += (
            *(owner, id, id, no_text, _length(len(json) + 1), JSONB_VERSION, json),
            ends[place * size : (place + 1) * size],
        )
    parts.append(END)
    return b"".join(parts)


def _field(text: str) -> bytes:
    encoded = text.encode()
    return _length(len(encoded)) + encoded


def _vectors_and_versions(vectors: NDArray[np.float32]) -> memoryview:
    """Encode the last two columns of each row: the vector, and ``WORDS_VERSION``."""
    count, dim = vectors.shape
    ends = np.empty(
        count,
        dtype=[
            *[("size", ">i4"), ("dim", ">i2"), ("unused", ">i2"), ("numbers", ">f4", (dim,))],
            *[("version_size", ">i4"), ("version", ">i2")],
        ],
    )
    ends["size"], ends["dim"], ends["unused"], ends["numbers"] = 4 + 4 * dim, dim, 0, vectors
    ends["version_size"], ends["version"] = 2, WORDS_VERSION
    return memoryview(ends.tobytes())
