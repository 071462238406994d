"""Add the triggers that count changes to chunk tables that have no such triggers.

During a rolling update, a process of the previous release can create a chunk table without these triggers.
Searches of the stores in this table would then answer from outdated cached results. Workers call this module
every ten minutes. ``make doctor`` with ``--mend`` calls it too.

    count_changes(pool)                                  # ["m_minilm_0123"]: they lacked triggers
"""

from typing import Any

import structlog
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import as_owner, translated
from cluster.database.queries import queries

log = structlog.get_logger(__name__)

SQL = queries("cluster.documents.chunks", "change_counters.sql")


def uncounted_collections(connection: Connection[Any]) -> list[str]:
    """Return the collections whose chunk tables lack a trigger that counts changes."""
    return [name for (name,) in connection.execute(SQL["uncounted"])]


def count_changes(pool: ConnectionPool) -> list[str]:
    """Create the missing triggers, and return the collections that lacked them.

    Each store of such a collection counts one change, because earlier changes of the store were not counted.
    """
    with as_owner(), translated(), pool.connection() as connection:
        names = uncounted_collections(connection)
        for name in names:
            with connection.transaction():
                connection.execute(SQL["count"], {"collection": name})
                connection.execute(SQL["count_one_change"], {"collection": name})
            log.info("changes_counted", collection=name)
    return names
