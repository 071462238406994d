"""A worker in a process of its own, as a replica is, without Ray: real queue, real parsers, the real model in place of its deployment.

    python -m tests.faults.worker NAME

Beside the jobs of a real worker it does those of ``KINDS``, which misbehave as they are told.
"""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from cluster.blobs import open_blob_store
from cluster.database import open_pool
from cluster.documents.indexing import ChunkIndexes
from cluster.engines import Engine, open_engine
from cluster.jobs import attempts
from cluster.logs import configure
from cluster.settings import Settings
from data_jobs.kinds.registry import open_kinds
from data_jobs.kinds.resources import Ids, Resources
from data_jobs.worker.consumer import Consumer
from data_jobs.worker.job_attempt import JobAttempt, JobFunction
from data_jobs.worker.parser_pool import Parsers

#: What a call of a model on another machine takes beside computing: the work of others, the way there and back.
AWAY_S = 0.1, 0.6


class FarEmbedder:
    """The engine in this process, some way off."""

    async def __call__(
        self, ids: Ids, *, fingerprint: str, organisation: str, urgent: bool
    ) -> NDArray[np.float32]:
        await asyncio.sleep(random.uniform(*AWAY_S))
        return await asyncio.to_thread(lambda: engine().embed_ids(ids))


@cache
def engine() -> Engine:
    """Loaded when it is first asked for."""
    return open_engine(Settings())


async def die(run: JobAttempt) -> None:
    """Takes the worker with it, after some time."""
    await run.stage("die", lambda: asyncio.sleep(run.job.input["after_s"]))
    os.kill(os.getpid(), signal.SIGKILL)


async def wait(run: JobAttempt) -> None:
    """Does nothing for some time."""
    await run.stage("wait", lambda: asyncio.sleep(run.job.input["seconds"]))
    await finish(run)


async def compute(run: JobAttempt) -> None:
    """Keeps a thread busy for some time, in Python."""

    def busy() -> None:
        until = time.monotonic() + run.job.input["seconds"]
        while time.monotonic() < until:
            sum(range(10_000))

    await run.stage("compute", lambda: run.in_thread(busy))
    await finish(run)


async def stop_within_transaction(run: JobAttempt) -> None:
    """The first to do it is stopped while it holds the job's row: between two statements, or in the middle of one."""
    mark, copying = Path(run.job.input["mark"]), run.job.input["copying"]

    def hold(connection: Connection[Any]) -> None:
        attempts.hold(connection, run.job)
        if not mark.exists():
            mark.touch()
            with standing(connection) if copying else nullcontext():
                os.kill(os.getpid(), signal.SIGSTOP)
                time.sleep(0.5)  # this thread may be the last one that it stops

    await run.in_transaction(hold)
    await finish(run)


@contextmanager
def standing(connection: Connection[Any]) -> Iterator[None]:
    """A COPY that the server waits in."""
    connection.execute("CREATE TEMP TABLE standing (number int) ON COMMIT DROP")
    with connection.cursor().copy("COPY standing FROM STDIN"):
        yield


async def die_after_commit(run: JobAttempt) -> None:
    """Takes the worker with it when the job is done, before the queue hears of it."""
    await finish(run)
    os.kill(os.getpid(), signal.SIGKILL)


async def finish(run: JobAttempt) -> None:
    """The job's end, with who did it."""
    await run.in_transaction(
        lambda connection: attempts.finish(connection, run.job, result={"pid": os.getpid()})
    )


KINDS: Mapping[str, JobFunction] = {
    "die": die,
    "wait": wait,
    "compute": compute,
    "stop_within_transaction": stop_within_transaction,
    "die_after_commit": die_after_commit,
}


async def main(name: str) -> None:
    """Work until told to stop."""
    settings = Settings()
    configure(settings)
    pool = open_pool(settings)
    indexes = ChunkIndexes(settings, pool)
    consumer = Consumer(settings, kinds=KINDS, name=f"{name}-{os.getpid()}")
    parsers = Parsers(settings, consumer.threads, 2)
    consumer.kinds |= open_kinds(
        Resources(blobs=open_blob_store(settings), indexes=indexes, parsers=parsers, embed=FarEmbedder())
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, consumer.stop)
    try:
        await consumer.run()
    finally:
        parsers.close()
        pool.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
