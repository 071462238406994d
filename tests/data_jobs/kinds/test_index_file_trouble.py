"""Around a file's job things go wrong that are not the file's fault, or only one page's."""

import asyncio
import re
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pymupdf
import pytest
from numpy.typing import NDArray
from psycopg_pool import ConnectionPool

from cluster.blobs import open_blob_store
from cluster.documents.chunks.chunk_indexes import ChunkIndexes, open_chunk_index
from cluster.engines import Engine, Registry, open_engine
from cluster.errors import Conflict, Retryable, Throttled, Unavailable
from cluster.jobs.jobs import JobState
from cluster.records import Outcome, ParsedDocument
from cluster.retrying import Backoff
from cluster.settings import Settings
from data_jobs.kinds import embed_chunks
from data_jobs.kinds.index_file import IndexFile
from data_jobs.kinds.resources import Resources
from data_jobs.stages.parsing.parser import Parser
from data_jobs.worker import job_attempt
from data_jobs.worker.chunk_embedder import ChunkEmbedder, Ids
from data_jobs.worker.parser_pool import Parsers
from tests import folder_index
from tests.data_jobs.running_consumer import LocalAnswerer, LocalClient, LocalEmbedder, consuming

#: Factors of the time limits of a stage. On a busy machine, other stages exceed the first limits.
SLOWNESS = 1, 10, 40


class EndlessPage(Parsers):
    """Parsing that never comes to an end where the 42nd page of a PDF is among those asked for."""

    #: The parsing process of all tests of this file.
    parser: Parser

    def __init__(self) -> None:
        """Start no process."""

    async def parse(self, data: bytes, **how: Any) -> ParsedDocument:
        how["on_begin"]()
        part = how["part"]
        if data.startswith(b"%PDF") and part is not None and part[0] <= 41 < part[1]:
            await asyncio.sleep(how["timeout_s"])
            return ParsedDocument(
                outcome=Outcome.TIMEOUT, detail="took too long", pages=(), media_type="application/pdf"
            )
        return await asyncio.to_thread(self.parser.parse, data, name=how["name"], part=part)


class BriefEmbedder(LocalEmbedder):
    """Embeds only the first tokens of each chunk, because the tests are not about the vectors."""

    async def __call__(
        self, ids: Ids, *, fingerprint: str, organisation: str, urgent: bool
    ) -> NDArray[np.float32]:
        ids = [one[:8] for one in ids]
        return await super().__call__(ids, fingerprint=fingerprint, organisation=organisation, urgent=urgent)


class FickleEmbedder(BriefEmbedder):
    """A model that fails so at the calls of these numbers; the first is 1."""

    def __init__(self, engine: Engine, error: BaseException, *, calls: Container[int]) -> None:
        super().__init__(engine)
        self.error = error
        self.failing = calls
        self.calls = 0

    async def __call__(
        self, ids: Ids, *, fingerprint: str, organisation: str, urgent: bool
    ) -> NDArray[np.float32]:
        self.calls += 1
        if self.calls in self.failing:
            raise self.error
        return await super().__call__(ids, fingerprint=fingerprint, organisation=organisation, urgent=urgent)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stages and calls begin their next attempt soon."""
    monkeypatch.setattr(job_attempt, "BACKOFF", Backoff(first_s=0.01, longest_s=15.0))


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Engine:
    return open_engine(Registry(settings).default)


@pytest.fixture(scope="module", autouse=True)
def parser(settings: Settings) -> Iterator[Parser]:
    """The parsing process of all tests of this file, because its start takes a second."""
    with Parser(settings) as parser:
        EndlessPage.parser = parser
        yield parser


@contextmanager
def at_work(
    settings: Settings,
    pool: ConnectionPool,
    engine: Engine,
    organisation: str,
    embed: ChunkEmbedder,
) -> Iterator[LocalClient]:
    """A consumer with that embedder, and with parsing that never ends on one page."""
    parsers = EndlessPage()
    indexes = ChunkIndexes(settings, pool)
    resources = Resources(
        blobs=open_blob_store(settings),
        indexes=indexes,
        parsers=parsers,
        embed=embed,
        answer=LocalAnswerer(settings),
    )
    with consuming(settings, pool, kinds={"index_file": IndexFile(resources)}):
        yield LocalClient(settings, pool, engine, organisation)


def test_a_page_that_never_ends_is_found_within_the_time_of_the_stage(
    settings: Settings, pool: ConnectionPool, engine: Engine, organisation: str
) -> None:
    with pymupdf.open() as document:
        for number in range(1, 61):
            document.new_page().insert_text((72, 72), f"This sentence stands on page {number}.")
        data = document.tobytes()
    for times in SLOWNESS:
        limits = {"parse_timeout_s": 1.0 * times, "stage_timeout_s": 1.5 * times}
        hurried = settings.model_copy(update=limits)
        with at_work(hurried, pool, engine, organisation, LocalEmbedder(engine)) as client:
            store, file = client.store(partial=True), client.upload("endless.pdf", data, "application/pdf")
            job = client.ended(client.attach(store, file))
        if job.state == JobState.SUCCEEDED:
            break
    assert job.result is not None, job.error
    assert (job.state, job.result["failed_pages"], job.result["chunks"]) == (JobState.SUCCEEDED, [42], 59)


def test_a_call_that_the_model_gives_up_is_made_again(
    settings: Settings, pool: ConnectionPool, engine: Engine, organisation: str
) -> None:
    embed = FickleEmbedder(
        engine, asyncio.CancelledError(), calls={1}
    )  # as Serve does when a replica drops it
    with at_work(settings, pool, engine, organisation, embed) as client:
        store = client.store()
        job = client.ended(
            client.attach(
                store,
                client.upload("pump.md", b"Only the shift supervisor may stop the pump.", "text/markdown"),
            )
        )
    assert (job.state, embed.calls) == (JobState.SUCCEEDED, 2), job.error
    (row,) = open_chunk_index(settings, pool).scan(organisation, store.id, collection=store.collection)
    assert row.text == "Only the shift supervisor may stop the pump."


def test_a_model_that_changed_meanwhile_computes_nothing_for_the_store(
    settings: Settings, pool: ConnectionPool, engine: Engine, organisation: str
) -> None:
    embed = FickleEmbedder(
        engine,
        Conflict("vectors of a are requested, but this replica computes those of b"),
        calls=range(10_000),
    )
    with at_work(settings, pool, engine, organisation, embed) as client:
        store = client.store()
        job = client.ended(
            client.attach(store, client.upload("pump.txt", b"Only the operator may stop the pump."))
        )
    assert (job.state, job.error_code, embed.calls) == (JobState.FAILED, "conflict", 1)
    assert open_chunk_index(settings, pool).count(organisation, store.id, collection=store.collection) == 0


def test_a_document_of_which_the_index_stores_a_part_is_not_searchable_and_says_why(
    settings: Settings, pool: ConnectionPool, engine: Engine, organisation: str
) -> None:
    folder = settings.model_copy(update={"vector_index": folder_index.NAME})
    folder_index.behave(folder, refused_ending="7")
    with at_work(folder, pool, engine, organisation, BriefEmbedder(engine)) as desk:
        store = desk.store(index=folder_index.NAME)
        job = desk.ended(desk.attach(store, desk.upload("pumps.md", pumps(1_600), "text/markdown")))
    folder_index.behave(folder)
    assert (job.state, job.error_code) == (JobState.FAILED, "refused")
    assert re.search("the vector index did not store row chk_[0-9a-f]+7.*: over quota", job.error or "")
    index = ChunkIndexes(folder, pool).of(store)
    assert index.count(organisation, store.id, collection=store.collection) == 0


def pumps(count: int) -> bytes:
    """A Markdown document with a section about each pump."""
    return "\n\n".join(
        f"# Pump {number}\n\nOnly the shift supervisor may stop pump {number}." for number in range(count)
    ).encode()


def test_a_model_that_throttles_every_call_ends_in_a_dead_letter(
    settings: Settings, pool: ConnectionPool, engine: Engine, organisation: str
) -> None:
    embed = FickleEmbedder(engine, Throttled("full"), calls=range(10_000))
    for times in SLOWNESS:
        hurried = settings.model_copy(update={"stage_timeout_s": 1.0 * times})
        with at_work(hurried, pool, engine, organisation, embed) as client:
            job = client.ended(
                client.attach(client.store(), client.upload("pumps.md", pumps(50), "text/markdown"))
            )
        if embed.calls:  # the stages before it kept the limit
            break
    assert (job.state, job.error_code, job.attempt) == (JobState.FAILED, "throttled", 1)
    assert (job.error or "").endswith("(CLUSTER_STAGE_TIMEOUT_S): full")


@pytest.mark.parametrize(("error", "tries"), [(Throttled("full"), 1), (Unavailable("away"), 2)])
def test_a_call_that_fails_among_others_costs_a_try_of_the_stage_and_none_where_the_model_is_only_busy(
    settings: Settings,
    pool: ConnectionPool,
    engine: Engine,
    organisation: str,
    monkeypatch: pytest.MonkeyPatch,
    error: Retryable,
    tries: int,
) -> None:
    monkeypatch.setattr(embed_chunks, "CHUNKS_PER_CALL", 3)
    embed = FickleEmbedder(engine, error, calls={3, 4})
    with at_work(settings, pool, engine, organisation, embed) as client:
        job = client.ended(
            client.attach(client.store(), client.upload("pumps.md", pumps(200), "text/markdown"))
        )
    assert job.result is not None, job.error
    assert (job.state, job.attempt, job.result["chunks"] > 9) == (JobState.SUCCEEDED, 1, True)
    with pool.connection() as connection:
        found = connection.execute(
            "SELECT tries FROM job_stages WHERE job = %s AND stage = 'embed'", [job.id]
        ).fetchall()
    assert found == [(tries,)]
