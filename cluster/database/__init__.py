"""The Postgres database: its bundled server, its schema, its errors and its connection pools.

from cluster.database import open_pool, translated
"""

from cluster.database.errors import translated
from cluster.database.pool import CONNECTION, database_url, open_pool, revive, snapshot

__all__ = ["CONNECTION", "database_url", "open_pool", "revive", "snapshot", "translated"]
