"""SIGKILL of the worker and of Postgres in the middle of a crawl. The pages and their chunks are those of a
crawl that nobody disturbed.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from cluster.crawls.outcomes import PageOutcome
from cluster.database import open_pool
from cluster.database.row_access import OWNER
from tests.conftest import NewHome, kill_postmaster
from tests.data_jobs.kinds.crawls.crawling import crawling_settings
from tests.faults.accepted_files import Home
from tests.faults.conftest import LEASE_S
from tests.faults.disturbed_crawls import Crawling, slow_down
from tests.faults.worker_processes import Workers
from tests.simulators.site import site_of_traps
from tests.waiting import until


@pytest.fixture(scope="module")
def home(new_home: NewHome) -> Iterator[Home]:
    """A home of its own. The workers of the shared home would take the crawl, and may not reach the site."""
    settings = new_home("crawls").model_copy(update={"lease_s": LEASE_S, "engine_threads": 1})
    pool = open_pool(settings, access=OWNER)
    yield Home(settings, pool)
    pool.close()


def test_a_crawl_that_is_killed_stores_what_a_quiet_crawl_stores(
    home: Home, tmp_path: Path, chance: Random
) -> None:
    with site_of_traps() as site:
        slow_down(site)
        settings = crawling_settings(home.settings, site)
        disturbed, quiet = (Crawling(home, site) for _ in range(2))
        with Workers(settings, 1, tmp_path) as workers:
            crawl, store = disturbed.begin()
            kills: list[Callable[[], None]] = [
                lambda: kill_postmaster(home.settings),
                lambda: workers.alive()[0].send_signal(signal.SIGKILL),
            ]
            for wanted, kill in zip((15, 35), kills, strict=True):
                until(disturbed.requests, lambda now, wanted=wanted: now >= wanted)
                kill()
                time.sleep(chance.uniform(0.0, 0.5))
            found = disturbed.ended(crawl, store)
            again = Counter(request.path for request in site.requests)
            site.requests.clear()
            assert found == quiet.ended(*quiet.begin())
    assert len(found[0]) > 40
    assert Counter(found[0].values())[PageOutcome.NEW] >= 5
    # Only the pages that were under way, or not yet stored, are requested again.
    assert sum(count - 1 for count in again.values()) < 30
