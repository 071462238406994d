"""Lists as OpenAI pages them: ``after`` or ``before`` the id of an item, ``limit`` of them, the newest or the oldest first.

async def list_things(page: PageDep): return listed(found, described, lambda thing: thing.id)
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Depends, Query

from cluster.database.paging import ListPage, PageRequest

T = TypeVar("T")


async def _page(
    after: Annotated[str | None, Query(description="Id of the item before the first of this page")] = None,
    before: Annotated[str | None, Query(description="Id of the item behind the last of this page")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Annotated[Literal["asc", "desc"], Query(description="By the time they were made")] = "desc",
) -> PageRequest:
    return PageRequest(after=after, before=before, limit=limit, newest_first=order == "desc")


PageDep = Annotated[PageRequest, Depends(_page)]


def listed(
    found: ListPage[T], described: Callable[[T], dict[str, Any]], id: Callable[[T], str]
) -> dict[str, Any]:
    """OpenAI's list object. Of an empty one the ids are empty: they must be strings."""
    return {
        "object": "list",
        "data": [described(item) for item in found.items],
        "first_id": id(found.items[0]) if found.items else "",
        "last_id": id(found.items[-1]) if found.items else "",
        "has_more": found.has_more,
    }
