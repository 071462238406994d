"""Reads lists from the database one page at a time, by cursor: each item once, whatever is added meanwhile.

A list is ordered by the creation time of its items, and by id among items created at the same time.

    lists = ListStatements(newest=SQL["newest"], oldest=SQL["oldest"], places=SQL["places"])
    read_page(connection, lists, {"organisation": "default"}, PageRequest(limit=20))
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.errors import InvalidInput

T = TypeVar("T")

#: A position in a list: the creation time of an item, and its id. Postgres orders its infinite times around
#: all others.
Position = tuple[datetime | str, str]
OLDEST: Position = ("-infinity", "")
NEWEST: Position = ("infinity", "")


@dataclass(frozen=True, kw_only=True, slots=True)
class PageRequest:
    """The part of a list that a caller asks for."""

    #: Id of the item that the page follows.
    after: str | None = None
    #: Id of the item that the page ends before.
    before: str | None = None
    limit: int = 20
    newest_first: bool = True


FIRST_PAGE = PageRequest()


@dataclass(frozen=True, kw_only=True, slots=True)
class ListPage(Generic[T]):
    """One page of a list."""

    items: list[T]
    #: True when more items follow in the direction of reading.
    has_more: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ListStatements:
    """The SQL of one list.

    ``newest`` and ``oldest`` read at most ``limit`` items in their order, from ``from_at, from_id`` up to
    ``to_at, to_id``.
    """

    newest: str
    oldest: str
    #: Gives the earliest and the latest creation time of an item ``id``, also after the item has left the
    #: list: a caller that deletes the items of one page must be able to ask for the next.
    places: str


def read_page(
    connection: Connection[Any], lists: ListStatements, values: dict[str, Any], page: PageRequest
) -> ListPage[dict[str, Any]]:
    """The rows of the page.

    Args:
        values: the parameters of the list's statements that do not belong to paging.

    Raises:
        InvalidInput: a cursor that is no id of this list.
    """
    after = _position(connection, lists, values, page, "after")
    before = _position(connection, lists, values, page, "before")
    # With only ``before`` given, read backwards from it, so that the page holds the items nearest to it.
    backwards = after is None and before is not None
    descending = page.newest_first != backwards
    first, last = (NEWEST, OLDEST) if descending else (OLDEST, NEWEST)
    start, end = (before or first, last) if backwards else (after or first, before or last)
    bounds = {
        "from_at": start[0],
        "from_id": start[1],
        "to_at": end[0],
        "to_id": end[1],
        "limit": page.limit + 1,
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(lists.newest if descending else lists.oldest, {**values, **bounds}).fetchall()
    items = rows[: page.limit]
    return ListPage(items=items[::-1] if backwards else items, has_more=len(rows) > page.limit)


def unknown_cursor(cursor: str, id: str) -> InvalidInput:
    """The error for an ``after`` or ``before`` that is no id of the list."""
    return InvalidInput(
        f"{cursor} is {id!r}, which is not in this list; send the id of an item of an earlier page,"
        " or leave it out",
        param=cursor,
    )


def _position(
    connection: Connection[Any], lists: ListStatements, values: dict[str, Any], page: PageRequest, cursor: str
) -> Position | None:
    id = getattr(page, cursor)
    if id is None:
        return None
    row = connection.execute(lists.places, {**values, "id": id}).fetchone()
    if row is None or row[0] is None:
        raise unknown_cursor(cursor, id)
    earliest, latest = row
    # A file that was attached twice has two times. This choice may repeat an item, but never skips one.
    return (latest if page.newest_first == (cursor == "after") else earliest), id
