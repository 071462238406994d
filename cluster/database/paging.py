"""Lists of the ledger a page at a time, by cursor: each item once, whatever is added meanwhile.

Called by what lists stores and their files; a list is ordered by when its items were made, and by id among those made at once.

    lists = Lists(newest=SQL["newest"], oldest=SQL["oldest"], places=SQL["places"])
    read_page(connection, lists, {"organisation": "default"}, Page(limit=20))
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.errors import InvalidInput

T = TypeVar("T")

#: A place in a list: when the item was made, and its id. Postgres has times before and after all others.
Place = tuple[datetime | str, str]
OLDEST: Place = ("-infinity", "")
NEWEST: Place = ("infinity", "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Which part of a list."""

    #: Ids: the page begins behind the one, ends before the other.
    after: str | None = None
    before: str | None = None
    limit: int = 20
    newest_first: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed(Generic[T]):
    """A part of a list."""

    items: list[T]
    #: There are items beyond, in the direction of reading.
    has_more: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Lists:
    """Statements that read a list in either direction, from the place ``from_at, from_id`` up to ``to_at, to_id``, at most ``limit``."""

    newest: str
    oldest: str
    #: Gives the earliest and the latest time at which an item ``id`` was made, also where it has just left the list: who
    #: deletes what a page shows must be able to ask for the next.
    places: str


def read_page(
    connection: Connection[Any], lists: Lists, values: dict[str, Any], page: Page
) -> Listed[dict[str, Any]]:
    """The rows of the page.

    Raises:
        InvalidInput: a cursor that names nothing of this list.
    """
    after = _place(connection, lists, values, page, "after")
    before = _place(connection, lists, values, page, "before")
    # From behind, if only the page's end is given: those nearest to it.
    backwards = after is None and before is not None
    downwards = page.newest_first != backwards
    first, last = (NEWEST, OLDEST) if downwards else (OLDEST, NEWEST)
    start, end = (before or first, last) if backwards else (after or first, before or last)
    bounds = {
        "from_at": start[0],
        "from_id": start[1],
        "to_at": end[0],
        "to_id": end[1],
        "limit": page.limit + 1,
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(lists.newest if downwards else lists.oldest, {**values, **bounds}).fetchall()
    items = rows[: page.limit]
    return Listed(items=items[::-1] if backwards else items, has_more=len(rows) > page.limit)


def unknown_cursor(cursor: str, id: str) -> InvalidInput:
    """The error of ``after`` or ``before`` that names nothing of the list."""
    return InvalidInput(
        f"{cursor} is {id!r}, which is not in this list; send the id of an item of a page before, or nothing",
        param=cursor,
    )


def _place(
    connection: Connection[Any], lists: Lists, values: dict[str, Any], page: Page, cursor: str
) -> Place | None:
    id = getattr(page, cursor)
    if id is None:
        return None
    row = connection.execute(lists.places, {**values, "id": id}).fetchone()
    if row is None or row[0] is None:
        raise unknown_cursor(cursor, id)
    earliest, latest = row
    # Where it cannot be told, rather an item twice than none.
    return (latest if page.newest_first == (cursor == "after") else earliest), id
