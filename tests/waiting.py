"""Waits of the tests, and the limits that end a broken test.

A wait ends as soon as its condition holds, so a generous limit costs nothing while the product works. The
limits are for a machine that is many times slower than a developer's: only a broken test reaches them. A test
that promises a time measures it against something in the same run, and does not shorten these limits.

    job = until(lambda: client.job(id), lambda job: job.state.ended)
"""

import time
from collections.abc import Callable
from pathlib import Path
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


def contended_s() -> float:
    """Seconds, since the machine started, in which at least one thread waited for a processor.

    The kernel counts them: https://docs.kernel.org/accounting/psi.html. 0 if this kernel does not.
    """
    try:
        some = Path("/proc/pressure/cpu").read_text().splitlines()[0]
    except (OSError, IndexError):
        return 0.0
    return int(some.rpartition("total=")[2]) / 1e6


class Stopwatch:
    """Measures a promise of a time, without the seconds in which a thread waited for a processor.

    On a machine at rest, these are the seconds of a clock. On a busy machine they are fewer, so that a test
    fails for the time that the product takes and not for the time that other processes take.
    """

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._contended_s = contended_s()

    def seconds(self, until: float | None = None) -> float:
        """Seconds from the start until now, or until this value of ``time.monotonic()``."""
        ended = time.monotonic() if until is None else until
        return max(0.0, ended - self.began - self.waited_s())

    def waited_s(self) -> float:
        """Seconds since the start in which a thread of the machine waited for a processor."""
        return contended_s() - self._contended_s
