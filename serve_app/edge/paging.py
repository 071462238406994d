"""The query parameters of a list's page, as OpenAI has them; ``response_model.ListObject`` is the answer.

async def list_things(page: PageDep) -> ThingList: ...
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Depends, Query

from cluster.database.paging import ListPage, PageRequest

T = TypeVar("T")


async def _page(
    after: Annotated[str | None, Query(description="Id of the item that this page follows")] = None,
    before: Annotated[str | None, Query(description="Id of the item that this page ends before")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Number of items at most")] = 20,
    order: Annotated[
        Literal["asc", "desc"], Query(description="Order by creation time: `desc` starts with the newest")
    ] = "desc",
) -> PageRequest:
    return PageRequest(after=after, before=before, limit=limit, newest_first=order == "desc")


PageDep = Annotated[PageRequest, Depends(_page)]


def listed(
    found: ListPage[T], described: Callable[[T], dict[str, Any]], id: Callable[[T], str]
) -> dict[str, Any]:
    """A page as a dictionary, for routes without a ``ListObject``."""
    return {
        "object": "list",
        "data": [described(item) for item in found.items],
        "first_id": id(found.items[0]) if found.items else "",
        "last_id": id(found.items[-1]) if found.items else "",
        "has_more": found.has_more,
    }
