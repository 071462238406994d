"""Creates, reads and deletes segments, which are named filters on the values of profiles.

A segment holds no customers. Its members are the customers whose profiles pass the filter when a request or
a job reads them (``members``). The segment ``ALL`` always exists and has every customer with a profile.

    segment = create_segment(connection, "acme", "lapsing", {"type": "eq", "key": "lapsing", "value": True})
    Selection(organisation="acme", as_of=now, segment=get_segment(connection, "acme", segment.id).filter)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cluster.database.paging import ListPage, ListStatements, PageRequest, read_page
from cluster.database.queries import queries
from cluster.errors import Conflict, NotFound, Throttled
from cluster.vector_index.filters import Filter, parse_filter

SQL = queries("cluster.profiles", "segments.sql")
LISTS = ListStatements(newest=SQL["newest"], oldest=SQL["oldest"], places=SQL["places"])
#: Maximum number of segments of an organisation.
MAX_SEGMENTS = 100
#: Id of the segment that has every customer with a profile.
ALL = "all"


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A named filter on the values of profiles."""

    id: str
    name: str
    #: The filter as the request gave it; empty for the segment ``ALL``.
    filters: Mapping[str, Any]
    created_at: datetime

    @property
    def filter(self) -> Filter | None:
        """The filter as a typed tree; None for the segment ``ALL``."""
        return parse_filter(self.filters) if self.filters else None


#: The segment of every customer with a profile.
EVERYBODY = Segment(id=ALL, name=ALL, filters={}, created_at=datetime(1970, 1, 1, tzinfo=UTC))


def create_segment(
    connection: Connection[Any], organisation: str, name: str, filters: Mapping[str, Any]
) -> Segment:
    """Create a segment, in the caller's transaction.

    Raises:
        InvalidInput: the filter is not valid.
        Conflict: the organisation has a segment with this name, or the name is ``all``.
        Throttled: the organisation has ``MAX_SEGMENTS`` segments.
    """
    parse_filter(filters)
    values = {
        "organisation": organisation,
        "id": f"segment_{uuid4().hex}",
        "name": name,
        "filters": Jsonb(filters),
    }
    connection.execute(SQL["lock"], values)
    count, same = connection.execute(SQL["existing"], values).fetchone() or (0, 0)
    if same or name == ALL:
        raise Conflict(f"there is a segment with the name {name!r}; choose another name")
    if count >= MAX_SEGMENTS:
        raise Throttled(f"the organisation has {count} segments and may have {MAX_SEGMENTS}; delete one")
    connection.execute(SQL["insert"], values)
    return get_segment(connection, organisation, str(values["id"]))


def get_segment(connection: Connection[Any], organisation: str, id: str) -> Segment:
    """Return the segment with this id.

    Raises:
        NotFound: the organisation has no such segment.
    """
    if id == ALL:
        return EVERYBODY
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL["get"], {"organisation": organisation, "id": id}).fetchone()
    if row is None:
        raise NotFound(f"there is no segment {id!r}")
    return Segment(**row)


def list_segments(connection: Connection[Any], organisation: str, page: PageRequest) -> ListPage[Segment]:
    """Return one page of the segments, without ``ALL``."""
    found = read_page(connection, LISTS, {"organisation": organisation}, page)
    return ListPage(items=[Segment(**row) for row in found.items], has_more=found.has_more)


def delete_segment(connection: Connection[Any], organisation: str, id: str) -> None:
    """Delete the segment, in the caller's transaction. The profiles do not change.

    Raises:
        NotFound: the organisation has no such segment.
        Conflict: the segment is ``ALL``.
    """
    if id == ALL:
        raise Conflict(f"the segment {ALL!r} always exists and cannot be deleted")
    if not connection.execute(SQL["delete"], {"organisation": organisation, "id": id}).rowcount:
        raise NotFound(f"there is no segment {id!r}")
