"""Connects to Postgres: bundled server, schema, translated errors, connections and connection pools.

from cluster.database import open_pool, translated
"""

from cluster.database.errors import translated
from cluster.database.pool import (
    CONNECTION,
    connect,
    database_url,
    in_one_transaction,
    open_pool,
    revive,
    single_statements,
    snapshot,
)

__all__ = [
    "CONNECTION",
    "connect",
    "database_url",
    "in_one_transaction",
    "open_pool",
    "revive",
    "single_statements",
    "snapshot",
    "translated",
]
