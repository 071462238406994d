"""A worker in its own process, without Ray: real queue and parsers, and the model in place of its deployment.

    python -m tests.faults.worker NAME

Beside the jobs of a real worker it runs the kinds of ``KINDS``, which misbehave as their input says.
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
from cluster.budgets.reservations import BatchHolder
from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.documents.batches.batch_answers import RequestAnswer
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.engines import Engine, Registry, open_engine
from cluster.errors import ClusterError
from cluster.jobs import attempts
from cluster.logs import configure
from cluster.settings import Settings
from cluster.vector_index.pinecone import limits
from data_jobs.kinds import answer_requests
from data_jobs.kinds.profiles import analyse_messages
from data_jobs.kinds.registry import open_kinds
from data_jobs.kinds.resources import Resources
from data_jobs.worker.chunk_embedder import Ids
from data_jobs.worker.consumer import Consumer
from data_jobs.worker.job_attempt import JobAttempt, JobFunction
from data_jobs.worker.parser_pool import Parsers
from serve_app.routes import batch_requests
from serve_app.service import Service

#: Delay of a call to a model on another machine, beside the computing: other requests and the network.
DELAY_S = 0.1, 0.6
#: The limits of the simulated Pinecone are low, so the share of a killed worker must soon be free again.
LEASE_S = 6.0


class RemoteEmbedder:
    """The engine of this process, with the delay of one on another machine."""

    async def __call__(
        self, ids: Ids, *, fingerprint: str, organisation: str, urgent: bool
    ) -> NDArray[np.float32]:
        await asyncio.sleep(random.uniform(*DELAY_S))
        return await asyncio.to_thread(lambda: engine().embed_ids(ids))


class RemoteAnswerer:
    """The endpoint's code in this process, with the same delay."""

    async def __call__(
        self,
        lines: list[bytes],
        *,
        organisation: str,
        fingerprints: Mapping[str, str],
        holder: BatchHolder | None = None,
    ) -> list[RequestAnswer | ClusterError]:
        await asyncio.sleep(random.uniform(*DELAY_S))
        return await batch_requests.answer_requests(
            service(), lines, organisation=organisation, fingerprints=fingerprints, holder=holder
        )


@cache
def service() -> Service:
    """The models of the endpoint, loaded at the first call."""
    return Service(Settings())


@cache
def engine() -> Engine:
    """The engine, loaded at the first call."""
    return open_engine(Registry(Settings()).default)


async def die(run: JobAttempt) -> None:
    """Kill the worker after some time."""
    await run.stage("die", lambda: asyncio.sleep(run.job.input["after_s"]))
    os.kill(os.getpid(), signal.SIGKILL)


async def wait(run: JobAttempt) -> None:
    """Do nothing for some time."""
    await run.stage("wait", lambda: asyncio.sleep(run.job.input["seconds"]))
    await finish(run)


async def compute(run: JobAttempt) -> None:
    """Keep a thread busy with Python code for some time."""

    def busy() -> None:
        until = time.monotonic() + run.job.input["seconds"]
        while time.monotonic() < until:
            sum(range(10_000))

    await run.stage("compute", lambda: run.in_thread(busy))
    await finish(run)


async def stop_within_transaction(run: JobAttempt) -> None:
    """Stop the first attempt's worker while it holds the job's row: between two statements, or within one."""
    mark, copying = Path(run.job.input["mark"]), run.job.input["copying"]

    def hold(connection: Connection[Any]) -> None:
        attempts.hold(connection, run.job)
        if not mark.exists():
            mark.touch()
            with unfinished_copy(connection) if copying else nullcontext():
                os.kill(os.getpid(), signal.SIGSTOP)
                time.sleep(0.5)  # the signal may stop this thread last

    await run.in_transaction(hold)
    await finish(run)


@contextmanager
def unfinished_copy(connection: Connection[Any]) -> Iterator[None]:
    """A COPY whose rows the server waits for inside the block."""
    connection.execute("CREATE TEMP TABLE copied (number int) ON COMMIT DROP")
    with connection.cursor().copy("COPY copied FROM STDIN"):
        yield


async def die_after_commit(run: JobAttempt) -> None:
    """Kill the worker after the job has ended, before its queue entry has."""
    await finish(run)
    os.kill(os.getpid(), signal.SIGKILL)


async def finish(run: JobAttempt) -> None:
    """End the job; its result is the process id of the worker."""
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


def small_parts() -> None:
    """Let jobs with a few hundred requests or messages take long enough for several faults."""
    answer_requests.REQUESTS_PER_CALL, answer_requests.CALLS_AT_ONCE = 10, 2
    answer_requests.PART_REQUESTS = 20
    analyse_messages.MESSAGES_PER_PAGE = 30


async def main(name: str) -> None:
    """Run jobs until SIGTERM."""
    small_parts()
    limits.LEASE_S = LEASE_S
    settings = Settings()
    configure(settings)
    pool = open_pool(settings, access=OWNER)
    indexes = ChunkIndexes(settings, pool)
    consumer = Consumer(settings, kinds=KINDS, name=f"{name}-{os.getpid()}")
    parsers = Parsers(settings, consumer.threads, 2)
    consumer.kinds |= open_kinds(
        Resources(
            blobs=open_blob_store(settings),
            indexes=indexes,
            parsers=parsers,
            embed=RemoteEmbedder(),
            answer=RemoteAnswerer(),
        )
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, consumer.stop)
    try:
        await consumer.run()
    finally:
        parsers.close()
        pool.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
