"""A machine loses its power inside a transaction. Postgres releases the locks of the transaction soon."""

import sys
import time
from collections.abc import Iterator

import pytest

from cluster.database import connect
from tests.conftest import NewHome
from tests.nodes.conftest import opened_cluster
from tests.nodes.node_cluster import NodeCluster

pytestmark = [pytest.mark.launch, pytest.mark.timeout(1800)]

#: The keepalive of the server's end of a connection takes 30 s.
RELEASED_S = 60.0
LOCK = "SELECT pg_advisory_xact_lock(66)"
#: A program with a connection like that of every process of the cluster.
IN_TRANSACTION = f"""
import time
from cluster.database import connect
from cluster.settings import Settings
connection = connect(Settings())
with connection.transaction():
    connection.execute({LOCK!r})
    print("locked", flush=True)
    time.sleep(3600)
"""


@pytest.fixture
def empty(new_home: NewHome) -> Iterator[NodeCluster]:
    """A network with a Postgres and without nodes."""
    with opened_cluster(new_home("transactions")) as cluster:
        yield cluster


def test_a_transaction_of_a_machine_without_power_is_rolled_back_within_a_minute(empty: NodeCluster) -> None:
    machine = empty.network.add("client")
    log = empty.folder / "client.log"
    machine.start([sys.executable, "-c", IN_TRANSACTION], empty.environment(), log)
    empty.until(lambda: log.exists() and "locked" in log.read_text(), "the lock")
    machine.lose_power()
    lost = time.monotonic()
    with connect(empty.settings) as other:
        other.execute("SET lock_timeout = '120s'")
        other.execute(LOCK)
    released_s = time.monotonic() - lost
    print(f"the lock was released after {released_s:.0f} s")
    assert released_s < RELEASED_S
