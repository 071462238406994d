"""Reads lists from the database one page at a time, by cursor.

Items that are added between two requests do not make a reader skip items or read items twice. A list is
ordered by the creation time of its items; items with the same creation time are ordered by id.

    lists = ListStatements(newest=SQL["newest"], oldest=SQL["oldest"], places=SQL["places"])
    read_page(connection, lists, {"organisation": "default"}, PageRequest(limit=20))
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.errors import InvalidInput

T = TypeVar("T")

#: Number of items that ``read_all`` reads at a time.
ITEMS_AT_A_TIME = 100
#: A position in a list: the creation time and the id of an item. Postgres sorts ``-infinity`` before all
#: other times, and ``infinity`` after them.
Position = tuple[datetime | str, str]
OLDEST: Position = ("-infinity", "")
NEWEST: Position = ("infinity", "")


@dataclass(frozen=True, kw_only=True, slots=True)
class PageRequest:
    """Says which part of a list a caller asks for."""

    #: The page begins after the item with this id.
    after: str | None = None
    #: The page ends before the item with this id.
    before: str | None = None
    limit: int = 20
    newest_first: bool = True


FIRST_PAGE = PageRequest()


@dataclass(frozen=True, kw_only=True, slots=True)
class ListPage(Generic[T]):
    """Holds one page of a list."""

    items: list[T]
    #: True if more items follow in the direction of reading.
    has_more: bool


class HasId(Protocol):
    """An item of a list."""

    @property
    def id(self) -> str:
        """Id of the item, which is also the cursor."""


Item = TypeVar("Item", bound=HasId)


def read_all(page_of: Callable[[PageRequest], ListPage[Item]], *, newest_first: bool = True) -> list[Item]:
    """Return all items of a list.

    Args:
        page_of: reads one page of the list.
        newest_first: order of the items.
    """
    found: list[Item] = []
    more = True
    while more:
        after = found[-1].id if found else None
        page = page_of(PageRequest(limit=ITEMS_AT_A_TIME, after=after, newest_first=newest_first))
        found += page.items
        more = page.has_more
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class ListStatements:
    """Holds the SQL statements that read one list.

    ``newest`` reads the newest items first, ``oldest`` the oldest. Both read at most ``limit`` items between
    the positions ``from_at, from_id`` and ``to_at, to_id``.
    """

    newest: str
    oldest: str
    #: Returns the earliest and the latest creation time of the item ``id``. If possible, also finds an item
    #: that has left the list, so that a caller can delete the items of one page and ask for the next page.
    places: str


def read_page(
    connection: Connection[Any], lists: ListStatements, values: dict[str, Any], page: PageRequest
) -> ListPage[dict[str, Any]]:
    """Return the rows of the page.

    Args:
        values: the parameters of the list's statements, without the parameters for paging.

    Raises:
        InvalidInput: ``after`` or ``before`` is not the id of an item of this list.
    """
    after = _position(connection, lists, values, page, "after")
    before = _position(connection, lists, values, page, "before")
    # If only ``before`` is given, the page must hold the items nearest to ``before``, so the statement reads
    # backwards from ``before``.
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
    """Return the error for an ``after`` or ``before`` that is not the id of an item of the list."""
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
    # A file that was attached twice has two creation times. With this choice, the next page may repeat an
    # item, but never skips an item.
    return (latest if page.newest_first == (cursor == "after") else earliest), id
