"""Fixtures for budgets: usage of an organisation, and reservations of a process."""

import pytest
from psycopg_pool import ConnectionPool

from tests.cluster.budgets.spender import Spender


@pytest.fixture
def spender(pool: ConnectionPool, organisation: str) -> Spender:
    """Reserves and uses tokens of a new organisation."""
    return Spender(pool, organisation)
