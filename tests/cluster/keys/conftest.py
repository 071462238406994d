"""A database with keys, and a pool on it."""

from collections.abc import Iterator

import pytest
from psycopg_pool import ConnectionPool

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.settings import Settings
from tests.own_database import own_database


@pytest.fixture(scope="package")
def keyed(settings: Settings, database_url: str) -> Iterator[Settings]:
    """Settings with a database for the tests of keys."""
    with own_database(settings, database_url) as own:
        yield own


@pytest.fixture(scope="package")
def keyed_pool(keyed: Settings) -> Iterator[ConnectionPool]:
    """Connections to that database."""
    pool = open_pool(keyed, access=OWNER)
    yield pool
    pool.close()
