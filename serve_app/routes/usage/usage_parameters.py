"""The query parameters of the usage routes: time range, buckets, pages and filters, as in OpenAI's usage API.

Buckets begin at multiples of their width in UTC. The first bucket contains ``start_time``.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import Depends, Query
from pydantic import StringConstraints

from cluster.analytics.usage_figures import DAY, HOUR, MINUTE
from cluster.errors import InvalidInput

#: The last second of the year 9999.
LAST_SECOND = 253_402_300_799
#: Maximum number of names in one filter.
MAX_NAMES = 100
WIDTHS = {"1m": MINUTE, "1h": HOUR, "1d": DAY}
#: For each width of a bucket: the default and the maximum number of buckets of a page.
LIMITS = {"1m": (60, 1_440), "1h": (24, 168), "1d": (7, 31)}
PAGE_PREFIX = "page_"

Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
StartTime = Annotated[
    int,
    Query(ge=0, le=LAST_SECOND, description="Second since 1970; the first bucket contains this second"),
]
EndTime = Annotated[
    int | None,
    Query(
        ge=1,
        le=LAST_SECOND,
        description="Second since 1970; the last bucket begins before it. Default: now",
    ),
]
Cursor = Annotated[str | None, Query(description="The `next_page` of the previous answer")]


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketPage:
    """The buckets of one page."""

    start: datetime
    #: The end of the last bucket.
    end: datetime
    width: timedelta
    #: True if more buckets follow.
    has_more: bool

    @property
    def next_page(self) -> str | None:
        """The cursor of the next page; None if no page follows."""
        return f"{PAGE_PREFIX}{int(self.end.timestamp())}" if self.has_more else None

    @property
    def starts(self) -> list[datetime]:
        """The beginnings of the buckets."""
        count = (self.end - self.start) // self.width
        return [self.start + number * self.width for number in range(count)]


def bucket_page(
    *, start_time: int, end_time: int | None, width: timedelta, limit: int, page: str | None
) -> BucketPage:
    """Return the buckets of the page that a request asks for.

    Raises:
        InvalidInput: the range is empty, or the cursor is not of this request.
    """
    seconds = int(width.total_seconds())
    end_time = int(datetime.now(UTC).timestamp()) + 1 if end_time is None else end_time
    if end_time <= start_time:
        raise InvalidInput(
            f"end_time is {end_time}; it must be after start_time, which is {start_time}", param="end_time"
        )
    first, end = start_time // seconds * seconds, -(-end_time // seconds) * seconds
    if page is not None:
        first = _cursor(page, first, end, seconds)
    last = min(first + limit * seconds, end)
    return BucketPage(start=_moment(first), end=_moment(last), width=width, has_more=last < end)


def _cursor(page: str, first: int, end: int, seconds: int) -> int:
    digits = page.removeprefix(PAGE_PREFIX)
    number = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 12 else -1
    if not first <= number < end or number % seconds or digits == page:
        raise InvalidInput(
            f"page is {page!r}; it must be the next_page of an answer to the same request", param="page"
        )
    return number


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


async def _page(
    start_time: StartTime,
    end_time: EndTime = None,
    bucket_width: Annotated[
        Literal["1m", "1h", "1d"], Query(description="Length of a bucket: a minute, an hour or a day in UTC")
    ] = "1d",
    limit: Annotated[
        int | None,
        Query(
            ge=1,
            description="Maximum number of buckets: for `1d` 7 by default and up to 31, for `1h` 24 and up "
            "to 168, for `1m` 60 and up to 1,440",
        ),
    ] = None,
    page: Cursor = None,
) -> BucketPage:
    usual, most = LIMITS[bucket_width]
    if limit is not None and limit > most:
        raise InvalidInput(
            f"limit is {limit}; with bucket_width {bucket_width} it may be up to {most:,}", param="limit"
        )
    width = WIDTHS[bucket_width]
    return bucket_page(start_time=start_time, end_time=end_time, width=width, limit=limit or usual, page=page)


BucketPageDep = Annotated[BucketPage, Depends(_page)]


def names(name: str, description: str, item: Any = Name) -> Any:
    """Return the dependency that reads a list from the query. OpenAI's clients send ``name[]=a&name[]=b``.
    The form ``name=a&name=b`` means the same. The value is None if the list is not given.

    Args:
        name: name of the parameter.
        description: the text in the OpenAPI document.
        item: type of the items.
    """

    async def read(
        bracketed: Annotated[
            list[item] | None, Query(alias=f"{name}[]", max_length=MAX_NAMES, description=description)
        ] = None,
        plain: Annotated[
            list[item] | None, Query(alias=name, max_length=MAX_NAMES, description=f"The same as `{name}[]`")
        ] = None,
    ) -> list[Any] | None:
        return None if bracketed is None and plain is None else [*(bracketed or ()), *(plain or ())]

    return Depends(read)
