"""Segments: named filters on the values of profiles.

segment = get_segment(connection, "acme", "segment_...")
Selection(organisation="acme", as_of=now, segment=segment.filter)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database.queries import queries
from cluster.errors import NotFound
from cluster.vector_index.filters import Filter, parse_filter

SQL = queries("cluster.profiles", "segments.sql")


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A named filter on the values of profiles."""

    id: str
    name: str
    #: The filter as the request gave it.
    filters: Mapping[str, Any]
    created_at: datetime

    @property
    def filter(self) -> Filter:
        """The filter as a typed tree."""
        return parse_filter(self.filters)


def get_segment(connection: Connection[Any], organisation: str, id: str) -> Segment:
    """Return the segment with this id.

    Raises:
        NotFound: the organisation has no such segment.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL["get"], {"organisation": organisation, "id": id}).fetchone()
    if row is None:
        raise NotFound(f"there is no segment {id!r}")
    return Segment(**row)
