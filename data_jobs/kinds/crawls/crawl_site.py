"""Runs the jobs that read a website: fill the frontier, read the sitemaps, visit the pages, end the crawl.

Everything that the job finds is stored in Postgres, so a new attempt continues the work of an attempt that
was killed. Only pages that were requested and not yet recorded are requested again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg import Connection

from cluster.crawls.crawls import Crawl, get_crawl
from cluster.crawls.frontier import save_state, stop_waiting
from cluster.crawls.host_turns import forget_hosts
from cluster.crawls.outcomes import PageOutcome
from cluster.documents.vector_stores.stores import get_store
from cluster.errors import NotFound
from cluster.jobs import attempts
from cluster.jobs.jobs import GONE
from cluster.jobs.kinds import CRAWL, DISCOVER
from cluster.outbound import AsyncOutboundClient
from data_jobs.kinds.crawls.crawl_loop import CrawlLoop
from data_jobs.kinds.crawls.links import LinkRules
from data_jobs.kinds.crawls.origins import Origins
from data_jobs.kinds.crawls.polite_client import WAITS_FOR_HOST, HostBusy, PoliteClient, later
from data_jobs.kinds.crawls.recorder import START, Recorder
from data_jobs.kinds.crawls.repeated_blocks import HeldPages
from data_jobs.kinds.crawls.seeding import EARLIER, Seeding
from data_jobs.kinds.crawls.visit import Visitor
from data_jobs.kinds.resources import Resources
from data_jobs.worker.job_attempt import JobAttempt, NotWanted

#: A crawl keeps at most ``URLS_PER_PAGE`` URLs for each page of its limit, or at most ``MIN_URLS`` URLs if
#: this number is higher.
URLS_PER_PAGE, MIN_URLS = 10, 10_000


@dataclass
class CrawlSite:
    """Runs jobs of the kinds ``CRAWL`` and ``DISCOVER``; the worker calls an instance with each attempt."""

    resources: Resources
    #: Sends the requests. If None, a client with the worker's settings is made for the first job.
    transport: AsyncOutboundClient | None = None

    async def __call__(self, attempt: JobAttempt) -> None:
        # Loading the certificate authorities takes long, so one client serves all jobs of a worker.
        self.transport = self.transport or AsyncOutboundClient(attempt.settings)
        crawl = await attempt.in_transaction(partial(_look_up, attempt))
        asked = crawl.input
        client = PoliteClient(attempt, self.transport, delay_s=asked.delay or 0.0)
        origins = Origins(self.resources, attempt, crawl, client)
        links = LinkRules(asked, start=crawl.state.get(START, crawl.url))
        max_urls = max(MIN_URLS, URLS_PER_PAGE * asked.limit)
        seeding = Seeding(self.resources, attempt, crawl, client, origins, links, max_urls)
        await attempt.stage("seed", seeding.seed)
        await attempt.stage("sitemaps", partial(_patiently, seeding.read_sitemaps))

        async def fetch() -> None:
            visitor = Visitor(
                self.resources,
                attempt,
                crawl,
                client,
                origins,
                links,
                conditional_after=crawl.state.get(EARLIER),
            )
            recorder = Recorder(self.resources, attempt, crawl, links, max_urls)
            await CrawlLoop(attempt, crawl, visitor, recorder, HeldPages(attempt, crawl)).run()

        await attempt.stage("fetch", fetch)
        await attempt.in_transaction(partial(_finish, attempt, crawl, links))


async def _patiently(work: Callable[[], Awaitable[None]]) -> None:
    """Do the work.

    Raises:
        TryLater: a host may get its next request only after a long wait, so the job gives up its slot.
    """
    try:
        await work()
    except HostBusy as exc:
        raise later(exc.wait_s, WAITS_FOR_HOST) from exc


def _look_up(attempt: JobAttempt, connection: Connection[Any]) -> Crawl:
    """Return the crawl of the job.

    Raises:
        NotWanted: the crawl or its vector store was deleted.
    """
    job = attempt.job
    try:
        crawl = get_crawl(connection, job.organisation, job.input["crawl"])
        if crawl.vector_store is not None:
            get_store(connection, job.organisation, crawl.vector_store)
    except NotFound as exc:
        raise NotWanted(str(exc), GONE) from exc
    return crawl


def _finish(attempt: JobAttempt, crawl: Crawl, links: LinkRules, connection: Connection[Any]) -> None:
    job = attempts.hold(connection, attempt.job)
    limit = f"the crawl requests at most {crawl.input.limit:,} pages (limit)"
    stop_waiting(connection, crawl, PageOutcome.LIMIT, limit)
    save_state(connection, crawl, {}, ignored=links.take_ignored())
    forget_hosts(connection)
    ended = get_crawl(connection, job.organisation, crawl.id)
    found = {
        "crawl": crawl.id,
        "vector_store": crawl.vector_store,
        "outcomes": dict(ended.outcomes),
        "ignored": ended.state.get("ignored", {}),
    }
    kind = DISCOVER if crawl.vector_store is None else CRAWL
    attempts.finish(connection, job, result={name: found[name] for name in kind.result})
