"""Reads the facts about the cluster that the built-in alerter compares with the rules.

facts = read_facts(connection)
facts.schedule_lag_s                              # 412.0
"""

from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from cluster.alerts.process_reports import ProcessReport, read_reports
from cluster.analytics.reconciliation import difference_count
from cluster.analytics.rollups import rollup_lag
from cluster.database.shortages import announced
from cluster.jobs.figures import JobFigures, job_figures
from cluster.jobs.schedules.schedules import schedule_lag
from cluster.rate_limits import provider_load


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Holds the state of the whole cluster at one moment."""

    jobs: JobFigures
    #: Seconds for which the oldest passed hour has waited for its roll-up.
    rollup_lag_s: float
    #: Number of windows in which the last comparison found a roll-up that differs from the data it sums.
    rollup_differences: float
    #: Seconds by which the most overdue schedule is late.
    schedule_lag_s: float
    #: Number of remote providers that no process calls now, because they failed repeatedly.
    unavailable_providers: int
    #: The resources that are used up, as values of ``cluster.errors.Resource``.
    short: frozenset[str]
    #: The reports of replicas and workers.
    reports: tuple[ProcessReport, ...]
    #: Seconds for which the process that evaluates the rules has not reached the database.
    database_away_s: float = 0.0


def read_facts(connection: Connection[Any]) -> Facts:
    """Read the facts from the database. The connection must have access to the rows of all organisations."""
    reports = tuple(read_reports(connection))
    short = {resource.value for resource in announced(connection)}
    return Facts(
        jobs=job_figures(connection),
        rollup_lag_s=rollup_lag(connection),
        rollup_differences=difference_count(connection),
        schedule_lag_s=schedule_lag(connection),
        unavailable_providers=provider_load(connection).unavailable,
        short=frozenset(short.union(*(report.short for report in reports if report.works))),
        reports=reports,
    )
