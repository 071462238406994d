"""The jobs that read a website, page by page."""

from dataclasses import dataclass

from data_jobs.kinds.resources import Resources
from data_jobs.worker.job_attempt import JobAttempt
from data_jobs.worker.stage_errors import StageFailed


@dataclass(frozen=True)
class CrawlSite:
    """Runs jobs of the kinds ``CRAWL`` and ``DISCOVER``; the worker calls an instance with each attempt."""

    resources: Resources

    async def __call__(self, attempt: JobAttempt) -> None:
        await attempt.stage("fetch", _refuse)


async def _refuse() -> None:
    raise StageFailed("fetch", "this release accepts crawls, but does not run them yet", "unsupported")
