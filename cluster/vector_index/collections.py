"""Name and find collections. A collection is the set of all vectors of one model.

Each collection has its own chunk table and at most one approximate index.

collection = find_collection(connection, "m_minilm_0123456789ab")
collection.table                                                   # "vectors_m_minilm_0123456789ab"
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

from psycopg import Connection

from cluster.engines.contract import Fingerprint
from cluster.errors import NotFound

#: Valid names of collections.
COLLECTION_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

#: Maximum count of the numbers in a vector of pgvector.
MAX_DIMENSIONS = 16_000

Metric = Literal["cosine", "dot", "euclidean"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Collection:
    """A set of vectors of one length, compared by one metric."""

    name: str
    #: Number of dimensions of a vector.
    dim: int
    metric: Metric

    @property
    def table(self) -> str:
        """Name of the collection's chunk table."""
        return table_name(self.name)


def table_name(collection: str) -> str:
    """Return the name of the chunk table of a collection."""
    return f"vectors_{collection}"


def collection_name(fingerprint: Fingerprint) -> str:
    """Return the name of the collection for vectors of this fingerprint.

    The name depends on the fingerprint, because vectors of two models must not share an approximate index.
    """
    return _beginning(fingerprint) + fingerprint.id.rpartition("@")[2]


def is_of_given_vectors(name: str) -> bool:
    """Return True if the collection with this name holds vectors that callers give."""
    return name.startswith(_beginning(Fingerprint.of_given(1)))


def _beginning(fingerprint: Fingerprint) -> str:
    words = re.sub(r"[^a-z0-9]+", "_", fingerprint.model.lower()).strip("_")
    return f"m_{words[:24]}_"


def find_collection(connection: Connection[Any], name: str) -> Collection:
    """Return the collection with this name.

    Raises:
        NotFound: there is no collection with this name.
    """
    found = look_up(connection, name)
    if found is None:
        raise NotFound(f"no collection {name!r}: ensure() makes it")
    return found


def look_up(connection: Connection[Any], name: str) -> Collection | None:
    """Return the collection with this name; None if there is no such collection."""
    statement = "SELECT name, dim, metric FROM vector_collections WHERE name = %s"
    row = connection.execute(statement, [name]).fetchone()
    return None if row is None else Collection(name=row[0], dim=row[1], metric=row[2])
