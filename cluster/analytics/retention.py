"""Delete old events, messages and conversations whose roll-ups are complete.

A nightly job calls ``delete_old_facts`` if ``CLUSTER_PLATFORM_DATA_DAYS`` is set. The roll-ups stay. A window
whose facts were deleted is never computed again, so a late event in this window changes no roll-up.

    delete_old_facts(pool, "acme", days=400)     # {"messages": 1200, "customer_events": 2500, ...}
"""

from psycopg_pool import ConnectionPool

from cluster.analytics.rollups import WINDOWS, compute_days
from cluster.database import translated
from cluster.database.queries import queries

SQL = queries("cluster.analytics", "retention.sql")
#: Tables of facts. A table comes before the tables to which it refers.
TABLES = ("messages", "customer_events", "conversations")
#: Maximum number of rows that one transaction deletes.
ROWS_AT_ONCE = 5_000


def delete_old_facts(pool: ConnectionPool, organisation: str, *, days: int) -> dict[str, int]:
    """Compute the roll-ups, then delete the facts from before the last ``days`` days in the time zone of the
    organisation. Return the number of deleted rows of each table.
    """
    compute_days(pool, organisation)
    values = {"organisation": organisation, "days": days, "limit": ROWS_AT_ONCE}
    with translated(), pool.connection() as connection:
        connection.execute(WINDOWS["alone"], values)
        connection.execute(SQL["limit"], values)
    deleted = dict.fromkeys(TABLES, 0)
    for table in TABLES:
        while True:
            with translated(), pool.connection() as connection:
                connection.execute(SQL["keep_rollups"], values)
                rows = connection.execute(SQL[f"delete_{table}"], values).rowcount
            deleted[table] += rows
            if rows < ROWS_AT_ONCE:
                break
    return deleted
