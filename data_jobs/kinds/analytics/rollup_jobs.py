"""Jobs that compute, compare and prune the roll-ups of all organisations.

System schedules submit these jobs. Each job works through the organisations one by one. An organisation whose
roll-ups cannot be computed is logged and named in the result, and does not stop the others.
"""

from collections.abc import Callable
from typing import Any

import structlog
from psycopg_pool import ConnectionPool

from cluster.analytics.reconciliation import reconcile
from cluster.analytics.retention import delete_old_facts
from cluster.analytics.rollups import compute_days, compute_hours, organisations
from cluster.database import translated
from cluster.errors import ClusterError, Retryable
from cluster.settings import Settings
from data_jobs.kinds.resources import Resources

log = structlog.get_logger(__name__)


def compute_hourly_stats(_: Resources, __: Settings, pool: ConnectionPool) -> dict[str, Any]:
    """Compute the dirty hours of every organisation, and the days that end now."""
    return _of_all(pool, lambda organisation: {"windows": compute_hours(pool, organisation)})


def compute_daily_analytics(_: Resources, __: Settings, pool: ConnectionPool) -> dict[str, Any]:
    """Compute the dirty hours and the dirty days of every organisation."""
    return _of_all(pool, lambda organisation: {"windows": compute_days(pool, organisation)})


def reconcile_analytics(_: Resources, __: Settings, pool: ConnectionPool) -> dict[str, Any]:
    """Compare the roll-ups of the last days of every organisation with their facts."""

    def compare(organisation: str) -> dict[str, int]:
        compared = reconcile(pool, organisation)
        return {"windows": compared.windows, "differences": len(compared.differences)}

    return _of_all(pool, compare)


def delete_old_platform_data(_: Resources, settings: Settings, pool: ConnectionPool) -> dict[str, Any]:
    """Delete the old events, messages and conversations of every organisation, if the settings say so."""
    days = settings.platform_data_days
    if not days:
        return {"organisations": 0, "failed": []}
    return _of_all(pool, lambda organisation: delete_old_facts(pool, organisation, days=days))


def _of_all(pool: ConnectionPool, work: Callable[[str], dict[str, int]]) -> dict[str, Any]:
    """Do the work for each organisation. Return the sums of its results, the number of organisations, and the
    organisations that failed.

    Raises:
        Retryable: the database does not answer, so another attempt does the rest.
    """
    with translated(), pool.connection() as connection:
        found = organisations(connection)
    failed, sums = list[str](), dict[str, int]()
    for organisation in found:
        try:
            done = work(organisation)
        except Retryable:
            raise
        except ClusterError as exc:
            log.exception("rollups_failed", organisation=organisation, reason=str(exc))
            failed.append(organisation)
        else:
            for name, count in done.items():
                sums[name] = sums.get(name, 0) + count
    return {"organisations": len(found), "failed": failed, **sums}
