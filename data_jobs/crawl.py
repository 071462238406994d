"""Read a website into a vector store, or find its URLs. docs/crawling.md explains the options.

    python -m data_jobs.crawl https://example.com/docs/ --vector-store handbook
    python -m data_jobs.crawl https://example.com/docs/ --vector-store handbook --limit 500 --exclude '^/old/'
    python -m data_jobs.crawl https://example.com/ --discover

The command submits a job and shows the numbers of pages by outcome until the job ends. A worker runs the job,
so the crawl continues if the command is interrupted. Run the command again at any time: only pages that have
changed are read into the store again. The store is created if it does not exist. --discover prints the URLs,
one on each line, and stores no page. Exit codes: 0, the crawl ended; 1, it failed or was cancelled, or the
command was interrupted; 2, wrong usage.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import orjson
from psycopg_pool import ConnectionPool
from rich.console import Console

from cluster.command import EXIT_FAILED, EXIT_USAGE, run
from cluster.crawls.crawls import Crawl, create_crawl, get_crawl, list_pages
from cluster.crawls.outcomes import PageOutcome
from cluster.database import open_pool, organisation_access, translated
from cluster.database.paging import PageRequest
from cluster.documents.chunks.chunk_indexes import ChunkIndexes, chosen_index
from cluster.documents.vector_stores.stores import ensure_store
from cluster.engines import Registry, describe
from cluster.errors import Permanent
from cluster.jobs.jobs import JobState
from cluster.jobs.kinds.crawl_inputs import CrawlInput, DiscoverInput
from cluster.settings import Settings

#: Seconds between two queries for the state of the crawl, and minimum seconds between two lines of progress.
POLL_S, PROGRESS_INTERVAL_S = 0.5, 5.0
#: Number of URLs that one query reads.
URLS_AT_A_TIME = 1_000
#: Outcomes of URLs that ``--discover`` prints.
FOUND = frozenset({PageOutcome.VISITED, PageOutcome.LISTED})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code of the process."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True, highlight=False)
    return run(partial(_crawl, options=options, console=console), console, log_level="ERROR")


def _crawl(settings: Settings, options: argparse.Namespace, console: Console) -> int:
    organisation = options.organisation or settings.organisation
    with closing(open_pool(settings, access=organisation_access(organisation))) as pool:
        try:
            crawl = _submitted(settings, pool, organisation, options)
        except (Permanent, ValueError) as exc:
            console.print(f"error: {exc}", markup=False, soft_wrap=True)
            return EXIT_USAGE
        console.print(f"crawl {crawl.id} reads {crawl.url}", markup=False, soft_wrap=True)
        try:
            crawl = _ended(pool, organisation, crawl.id, console)
        except KeyboardInterrupt:
            console.print(
                f"interrupted; the crawl continues, and POST /v1/crawls/{crawl.id}/cancel ends it",
                markup=False,
                soft_wrap=True,
            )
            return EXIT_FAILED
        if crawl.job_state != JobState.SUCCEEDED:
            console.print(f"error: crawl {crawl.id} is {crawl.job_state}: {crawl.error}", markup=False)
            return EXIT_FAILED
        if options.discover:
            for url in _found_urls(pool, organisation, crawl.id):
                print(url)
        else:
            print(orjson.dumps(_summary(crawl)).decode())
        return 0


def _submitted(
    settings: Settings, pool: ConnectionPool, organisation: str, options: argparse.Namespace
) -> Crawl:
    """Submit the crawl and return it. If the crawl stores pages, create the store if it does not exist.

    Raises:
        Permanent: the store, the URL, a pattern or the limit is not valid.
        ValueError: another option has a value that the model of the crawl's input does not accept.
    """
    given: dict[str, Any] = {
        "url": options.url,
        "include_paths": options.include or None,
        "exclude_paths": options.exclude or None,
        "max_discovery_depth": options.max_depth,
        "sitemap": options.sitemap,
        "limit": options.limit,
        "crawl_entire_domain": options.entire_domain,
        "allow_subdomains": options.subdomains,
        "ignore_query_parameters": options.ignore_query,
        "delay": options.delay,
    }
    given = {name: value for name, value in given.items() if value is not None}
    with translated(), pool.connection() as connection, connection.transaction():
        asked: CrawlInput | DiscoverInput
        if options.discover:
            asked = DiscoverInput.model_validate(given)
        else:
            store = ensure_store(
                connection,
                organisation,
                options.vector_store,
                fingerprint=describe(Registry(settings).default),
                index=chosen_index(settings, None),
            )
            asked = CrawlInput.model_validate({**given, "vector_store_id": store.id})
        crawl = create_crawl(connection, organisation, asked, max_pages=settings.crawl_max_pages)
    if not options.discover:
        ChunkIndexes(settings, pool).of(store).ensure(store.collection, dim=store.fingerprint.dim)
    return crawl


def _ended(pool: ConnectionPool, organisation: str, id: str, console: Console) -> Crawl:
    """Show the progress of the crawl until the crawl ends, and return the ended crawl."""
    shown, line = time.monotonic(), ""
    while True:
        with translated(), pool.connection() as connection:
            crawl = get_crawl(connection, organisation, id)
        now = f"{crawl.job_state}: {_progress(crawl)}"
        if crawl.job_state.ended or (now != line and time.monotonic() - shown >= PROGRESS_INTERVAL_S):
            shown, line = time.monotonic(), now
            console.print(now, markup=False, soft_wrap=True)
        if crawl.job_state.ended:
            return crawl
        time.sleep(POLL_S)


def _progress(crawl: Crawl) -> str:
    numbers = [f"{crawl.discovered:,} discovered", f"{crawl.waiting:,} waiting"]
    numbers += [f"{number:,} {outcome}" for outcome, number in sorted(crawl.outcomes.items())]
    return ", ".join(numbers)


def _summary(crawl: Crawl) -> dict[str, Any]:
    return {
        "crawl": crawl.id,
        "vector_store": crawl.vector_store,
        "discovered": crawl.discovered,
        "outcomes": dict(crawl.outcomes),
        "ignored": crawl.state.get("ignored") or {},
    }


def _found_urls(pool: ConnectionPool, organisation: str, id: str) -> Iterator[str]:
    after = None
    while True:
        page = PageRequest(after=after, limit=URLS_AT_A_TIME, newest_first=False)
        with translated(), pool.connection() as connection:
            found = list_pages(connection, organisation, id, page)
        yield from (one.url for one in found.items if one.outcome in FOUND)
        if not found.has_more:
            return
        after = found.items[-1].id


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_jobs.crawl",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("url", help="URL at which the crawl starts")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--vector-store", metavar="NAME", help="name or id of the store that gets the pages")
    target.add_argument("--discover", action="store_true", help="print the URLs, and store no page")
    parser.add_argument("--organisation", help="owner of the store (default: CLUSTER_ORGANISATION)")
    parser.add_argument("--limit", type=int, metavar="PAGES", help="maximum number of pages")
    parser.add_argument(
        "--include", action="append", metavar="REGEX", help="visit only paths that match; may be repeated"
    )
    parser.add_argument(
        "--exclude", action="append", metavar="REGEX", help="visit no path that matches; may be repeated"
    )
    parser.add_argument(
        "--max-depth", type=int, metavar="LINKS", help="maximum number of links from the start"
    )
    parser.add_argument(
        "--sitemap", choices=("include", "skip", "only"), help="what to do with sitemaps (default: include)"
    )
    parser.add_argument(
        "--entire-domain", action="store_true", help="also visit pages outside the folder of the start"
    )
    parser.add_argument("--subdomains", action="store_true", help="also visit subdomains")
    parser.add_argument(
        "--ignore-query", action="store_true", help="URLs that differ only in their query are one page"
    )
    parser.add_argument(
        "--delay", type=float, metavar="SECONDS", help="seconds between two requests to a host"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
