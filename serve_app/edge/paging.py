"""The query parameters of paged lists, as in OpenAI's API. The answer is a ``response_model.ListObject``.

async def list_things(page: PageDep) -> ThingList: ...
"""

from typing import Annotated, Literal

from fastapi import Depends, Query

from cluster.database.paging import PageRequest


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
