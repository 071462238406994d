"""SIGKILL of the head in the middle of a crawl. The crawl stores what a crawl without a fault stores."""

import time
from random import Random

import pytest

from tests.faults.accepted_files import Home
from tests.faults.disturbed_crawls import Crawling
from tests.nodes.node_cluster import NodeCluster
from tests.simulators.site import TrapSite
from tests.waiting import until

pytestmark = [pytest.mark.launch, pytest.mark.timeout(1800)]

#: The head is killed after so many requests, of about 90.
REQUESTS = range(10, 40)


def test_a_crawl_ends_as_without_a_fault_if_the_head_is_killed(
    cluster: NodeCluster, home: Home, site: TrapSite, chance: Random
) -> None:
    url = f"http://{cluster.network.address}:{site.port}/"
    disturbed, quiet = (Crawling(home, site, url) for _ in range(2))
    site.requests.clear()
    crawl, store = disturbed.begin()
    wanted = chance.choice(REQUESTS)
    until(disturbed.requests, lambda now: now >= wanted)
    cluster.head.machine.kill()
    time.sleep(chance.uniform(0, 3))
    cluster.restart("head")
    found = disturbed.ended(crawl, store)
    cluster.until_ready(cluster.head.api)
    assert found == quiet.ended(*quiet.begin())
    assert len(found[0]) > 40
