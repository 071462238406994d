"""Make several calls at the same time, such as the requests of one large write.

for refused in concurrently(send, batches, 4):
    ...
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from itertools import chain, islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def concurrently(call: Callable[[T], R], items: Iterable[T], at_once: int) -> Iterator[R]:
    """Call ``call`` with each item, and yield the results in the order of the items.

    At most ``at_once`` calls run at the same time. An item is taken from ``items`` only shortly before its
    call begins, so that few items are in memory. If a call raises an error, this function raises the
    error in the place of the result, after the running calls have ended, and begins no further call.
    """
    remaining = iter(items)
    first = list(islice(remaining, 2))
    if len(first) < 2:
        yield from map(call, first)
        return
    running: deque[Future[R]] = deque()
    with ThreadPoolExecutor(at_once, thread_name_prefix="concurrently") as threads:
        for item in chain(first, remaining):
            if len(running) == at_once:
                yield running.popleft().result()
            running.append(threads.submit(copy_context().run, call, item))
        while running:
            yield running.popleft().result()
