"""Decide when a worker has to be replaced by a new process: after a number of jobs, or above a memory limit.

A process that runs for weeks can use more and more memory, because libraries leak memory or fragment it. The
consumer takes no more jobs when the worker has to be replaced, and ends when its jobs have ended. Serve then
starts another worker.

    recycling = Recycling(settings)
    recycling.job_began()            # before each job, and job_ended() after it
    await recycling.wait()           # returns when the worker has to be replaced
    recycling.reason                 # "ran 1,000 jobs (CLUSTER_WORKER_MAX_JOBS)"
"""

import asyncio
import contextlib
import os
import random
from collections.abc import Callable
from typing import Any

from psycopg import Connection

from cluster.jobs import attempts
from cluster.jobs.jobs import Job
from cluster.settings import Settings

MIB = 1024 * 1024
#: The number of jobs of a worker is up to this share above the setting, chosen at random, so that workers
#: that started together are not replaced together.
SPREAD = 0.1
#: Seconds between two checks of the memory.
CHECK_INTERVAL_S = 1.0
#: Maximum seconds that a worker that has to be replaced waits for its running jobs to end. After that, the
#: worker gives the jobs back.
DRAIN_TIMEOUT_S = 600.0
#: Seconds between two checks whether the running jobs of a worker that has to be replaced have ended.
DRAIN_CHECK_S = 0.2
#: A worker that uses more than this many times its memory limit ends without waiting for its jobs.
FAR_ABOVE = 2


class Recycling:
    """Counts the jobs of a worker, and checks the memory of its process."""

    def __init__(self, settings: Settings) -> None:
        most = settings.worker_max_jobs
        self._max_jobs = most + random.randint(0, int(most * SPREAD))  # noqa: S311  no secret
        self._max_memory = settings.worker_max_memory_bytes
        #: Number of jobs that this worker has begun, and number of jobs that it has ended.
        self._began, self._ended = 0, 0
        self._due = asyncio.Event()
        #: A text for people that says why the worker has to be replaced; empty while this is not necessary.
        self.reason = ""

    def job_began(self) -> None:
        """Count a job that begins. Call this on the event loop."""
        self._began += 1

    def job_ended(self) -> None:
        """Count a job that has ended, and check the memory. Call this on the event loop."""
        self._ended += 1
        self._check()

    async def wait(self) -> None:
        """Return when the worker has to be replaced."""
        while not self.reason:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), CHECK_INTERVAL_S if self._max_memory else None)
            self._check()

    async def drain(self, busy: Callable[[], bool]) -> str:
        """Return the empty string as soon as the worker is not busy, or after ``DRAIN_TIMEOUT_S``.

        If the process uses more than ``FAR_ABOVE`` times the memory limit, do not wait, but return an error
        for people. The caller ends the running jobs with this error.

        Args:
            busy: returns True while jobs run.
        """
        deadline = asyncio.get_running_loop().time() + DRAIN_TIMEOUT_S
        while busy() and asyncio.get_running_loop().time() < deadline:
            if self._max_memory and (used := resident_bytes()) > FAR_ABOVE * self._max_memory:
                return f"its worker {_memory_sentence(used, self._max_memory)}"
            await asyncio.sleep(DRAIN_CHECK_S)
        return ""

    def _check(self) -> None:
        if self._max_jobs and self._ended >= self._max_jobs:
            self.reason = f"ran {self._ended:,} jobs (CLUSTER_WORKER_MAX_JOBS)"
        # A new process may already use more than the limit, so the worker first begins at least one job.
        elif self._began and self._max_memory and (used := resident_bytes()) > self._max_memory:
            self.reason = _memory_sentence(used, self._max_memory)
        if self.reason:
            self._due.set()


def lose(connection: Connection[Any], job: Job, *, error: str) -> Job:
    """End the attempt as if its process had died, because the job may be the reason for the use of memory.

    Raises:
        LeaseLost: the job has ended or has a newer attempt.
    """
    return attempts.end_lost(connection, attempts.hold(connection, job), error=error)


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _memory_sentence(used: int, limit: int) -> str:
    allowed = f"{limit // MIB:,} MiB are allowed (CLUSTER_WORKER_MAX_MEMORY_BYTES)"
    return f"used {used // MIB:,} MiB of memory, and {allowed}"
