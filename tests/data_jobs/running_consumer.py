"""Runs a consumer in this process, with real queue and parsers, and the model in place of its deployment."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from psycopg_pool import ConnectionPool

from cluster.blobs import BlobStore, open_blob_store
from cluster.budgets.reservations import BatchHolder
from cluster.documents.batches.batch_answers import RequestAnswer
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.files import File, create_file
from cluster.documents.vector_stores import attaching, stores
from cluster.documents.vector_stores.stores import NewStore, VectorStore
from cluster.engines import Engine
from cluster.errors import ClusterError
from cluster.jobs.jobs import Job, get_job
from cluster.organisations.organisations import StorageLimits
from cluster.settings import Settings
from data_jobs.kinds.registry import open_kinds
from data_jobs.kinds.resources import RequestAnswerer, Resources
from data_jobs.worker import consumer
from data_jobs.worker.chunk_embedder import ChunkEmbedder, Ids
from data_jobs.worker.consumer import Consumer
from data_jobs.worker.job_attempt import JobFunction
from data_jobs.worker.parser_pool import Parsers
from serve_app.routes.batch_requests import answer_requests
from serve_app.service import Service
from tests.conftest import MADE_BY, current_module
from tests.waiting import LONGEST_WAIT_S, until

#: Seconds between two checks of a consumer for queue entries whose start time has come.
POLL_S = 0.3


class LocalEmbedder:
    """Embeds with an engine of this process."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def __call__(
        self, ids: Ids, *, fingerprint: str, organisation: str, urgent: bool
    ) -> NDArray[np.float32]:
        assert fingerprint == self.engine.fingerprint.id
        return await asyncio.to_thread(self.engine.embed_ids, ids)


class LocalAnswerer:
    """Answers requests of batches with the code of the endpoint, in this process. The first call opens the
    service.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.service: Service | None = None

    async def __call__(
        self,
        lines: list[bytes],
        *,
        organisation: str,
        fingerprints: Mapping[str, str],
        holder: BatchHolder | None = None,
    ) -> list[RequestAnswer | ClusterError]:
        self.service = self.service or Service(self.settings)
        return await answer_requests(
            self.service, lines, organisation=organisation, fingerprints=fingerprints, holder=holder
        )

    def close(self) -> None:
        if self.service is not None:
            self.service.close()


@contextmanager
def consuming(
    settings: Settings,
    pool: ConnectionPool,
    engine: Engine | None = None,
    kinds: Mapping[str, JobFunction] | None = None,
    embed: ChunkEmbedder | None = None,
    answer: RequestAnswerer | None = None,
) -> Iterator[Consumer]:
    """Run a consumer on a thread of its own inside the block, with one engine or with ``embed``.

    Jobs that the tests of other modules left are cancelled first, so that they take no slots.
    """
    cancel_left_jobs(pool)
    local = LocalAnswerer(settings)
    embed = embed or (None if engine is None else LocalEmbedder(engine))
    made: list[Consumer] = []
    begun = threading.Event()

    async def consume() -> None:
        worker = Consumer(settings, kinds=kinds or {}, name="test-worker")
        parsers = Parsers(settings, worker.threads, 2)
        if embed is not None:
            indexes = ChunkIndexes(settings, pool)
            worker.kinds |= open_kinds(
                Resources(
                    blobs=open_blob_store(settings),
                    indexes=indexes,
                    parsers=parsers,
                    embed=embed,
                    answer=answer or local,
                )
            )
        made.append(worker)
        loops.append(asyncio.get_running_loop())
        begun.set()
        try:
            await worker.run()
        finally:
            parsers.close()
            local.close()

    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=lambda: asyncio.run(consume()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(consumer, "POLL_S", POLL_S)
        thread.start()
        begun.wait()
        try:
            yield made[0]
        finally:
            with suppress(RuntimeError):  # a consumer that recycles has ended by itself
                loops[0].call_soon_threadsafe(made[0].stop)
            thread.join(LONGEST_WAIT_S)


def cancel_left_jobs(pool: ConnectionPool) -> None:
    """Cancel the jobs of the organisations that other test modules made."""
    left = [organisation for organisation, module in MADE_BY.items() if module != current_module()]
    with pool.connection() as connection:
        connection.execute(
            "UPDATE jobs SET state = 'cancelled', cancel_asked = true, finished_at = now(), retry_at = NULL,"
            " error = 'the tests of its module have ended', error_code = 'cancelled'"
            " WHERE organisation = ANY(%s) AND state IN ('queued', 'running')",
            [left],
        )


@dataclass(frozen=True)
class LocalClient:
    """Does what a client does over HTTP, by calling the functions behind the routes."""

    settings: Settings
    pool: ConnectionPool
    engine: Engine
    organisation: str

    @property
    def blobs(self) -> BlobStore:
        return open_blob_store(self.settings)

    def store(self, name: str = "store", **options: Any) -> VectorStore:
        with self.pool.connection() as connection:
            made = stores.create_store(
                connection,
                self.organisation,
                NewStore(name=name, **options),
                fingerprint=self.engine.fingerprint,
            )
        ChunkIndexes(self.settings, self.pool).of(made).ensure(made.collection, dim=made.fingerprint.dim)
        return made

    def upload(
        self, filename: str, data: bytes, media_type: str = "text/plain", purpose: str = "assistants"
    ) -> File:
        with self.blobs.writer(self.organisation) as writer:
            writer.write(data)
            blob = writer.commit()
        with self.pool.connection() as connection:
            return create_file(
                connection,
                self.organisation,
                filename,
                purpose,
                blob,
                media_type,
                default_limits=StorageLimits(),
            )

    def attach(self, store: VectorStore, file: File, **options: Any) -> str:
        """Attach the file to the vector store and return the id of the job."""
        with self.pool.connection() as connection:
            return attaching.attach(connection, store, file.id, **options).job

    def job(self, id: str) -> Job:
        with self.pool.connection() as connection:
            return get_job(connection, self.organisation, id)

    def ended(self, id: str) -> Job:
        """The job, as soon as it has ended."""
        found: Job = until(lambda: self.job(id), lambda job: job.state.ended)
        return found
