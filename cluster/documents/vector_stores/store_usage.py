"""Count the files and the bytes of vector stores. The routes show these numbers with each store.

usage_of(connection, "acme", ["vs_1"])["vs_1"].files.completed
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database.queries import queries

SQL = queries("cluster.documents.vector_stores", "store_usage.sql")


@dataclass(frozen=True, kw_only=True, slots=True)
class FileCounts:
    """Numbers of attached files, by status."""

    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def total(self) -> int:
        """Number of all attached files."""
        return self.in_progress + self.completed + self.failed + self.cancelled


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreUsage:
    """The amount of data in a store."""

    files: FileCounts = FileCounts()
    #: Number of bytes of the store's files and ingested documents.
    bytes: int = 0


def usage_of(connection: Connection[Any], organisation: str, ids: Sequence[str]) -> dict[str, StoreUsage]:
    """Return the amount of data in each of the stores, by store id."""
    counts: dict[str, dict[str, int]] = {id: {} for id in ids}
    sizes = dict.fromkeys(ids, 0)
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(SQL["usage"], {"organisation": organisation, "ids": list(ids)}):
            sizes[row["vector_store"]] += row["bytes"]
            if row["status"] is not None:
                counts[row["vector_store"]][row["status"]] = row["files"]
    return {id: StoreUsage(files=FileCounts(**counts[id]), bytes=sizes[id]) for id in ids}
