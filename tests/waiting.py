"""Waits of the tests, and the limits that end a broken test.

A wait ends as soon as its condition holds, so a generous limit costs nothing while the product works. The
limits are for a machine that is many times slower than a developer's: only a broken test reaches them. A test
that promises a time measures it against something in the same run, and does not shorten these limits.

    job = until(lambda: client.job(id), lambda job: job.state.ended)
"""

import time
from collections.abc import Callable
from typing import Any

#: Maximum seconds for one step of the product: an answer of a server, the end of a job, of a thread or of a
#: process.
LONGEST_WAIT_S = 180.0
#: Maximum seconds for a command of many steps, such as ``make up``, a bulk ingest or a notebook.
LONGEST_COMMAND_S = 1_200.0
#: Seconds between two looks at a condition. They grow from the first value to the second.
FIRST_POLL_S, POLL_S = 0.02, 0.2


def until(read: Callable[[], Any], condition: Callable[[Any], bool] = bool, *, what: str = "") -> Any:
    """The first value of ``read()`` for which the condition holds. Fails after ``LONGEST_WAIT_S``."""
    began = time.monotonic()
    while not condition(value := read()):
        waited_s = time.monotonic() - began
        assert waited_s < LONGEST_WAIT_S, f"waited {waited_s:.0f} s for {what or 'a condition'}: {value}"
        time.sleep(min(POLL_S, max(FIRST_POLL_S, waited_s / 20)))
    return value
