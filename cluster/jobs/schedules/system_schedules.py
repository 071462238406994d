"""The schedules of the cluster itself, in one table. When a worker starts, it creates the missing schedules.

To add a schedule, write the kind of job (CONTRIBUTING.md, "a kind of job"), and add one row to
``SYSTEM_SCHEDULES``:

    SystemSchedule("sched_expire", EXPIRE, "*/5 * * * *")

The job of the kind finds the time for which it runs in ``job.scheduled_for``, and the schedule's id in
``job.schedule``. With ``catch_up=CatchUp.ALL`` there is one job for each time, also after an outage. With
``all_organisations=True`` each time gives one job for each organisation, and ``job.organisation`` is this
organisation. Otherwise the job belongs to ``system``.

Workers never change rows that exist already, because an operator may have changed them with ``python -m
data_jobs.schedules --organisation system``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection

from cluster.jobs.jobs import SYSTEM
from cluster.jobs.kinds import ENRICH_CUSTOMER_PROFILE
from cluster.jobs.kinds.job_kind import JobKind
from cluster.jobs.kinds.upkeep_kinds import (
    ARCHIVE_JOBS,
    COMPUTE_DAILY_ANALYTICS,
    COMPUTE_HOURLY_STATS,
    DELETE_OLD_PLATFORM_DATA,
    DISCARD_UNFINISHED,
    EMPTY_OUTBOX,
    EXPIRE,
    MEASURE_STORAGE,
    RECONCILE_ANALYTICS,
    RENEW_WORDS,
    USAGE_REPORTS,
)
from cluster.jobs.schedules.cron import Timing
from cluster.jobs.schedules.schedules import CatchUp, ScheduleOptions, create_schedule


@dataclass(frozen=True, slots=True)
class SystemSchedule:
    """Describes one schedule of the cluster itself."""

    #: Id of the row. It must never change.
    id: str
    kind: JobKind
    #: Five fields: minute, hour, day of month, month, day of week.
    cron: str
    #: IANA name of the time zone in which the cron expression is read.
    time_zone: str = "UTC"
    #: Which missed times get a job. Use ``latest`` for a job that does all the work that remains since the
    #: last job.
    catch_up: CatchUp = CatchUp.LATEST
    #: True to submit one job for each organisation; False to submit one job that belongs to ``system``.
    all_organisations: bool = False
    #: The input of each job.
    arguments: Mapping[str, Any] = field(default_factory=dict)


#: The schedules of the cluster itself.
SYSTEM_SCHEDULES: tuple[SystemSchedule, ...] = (
    SystemSchedule("sched_empty_outbox", EMPTY_OUTBOX, "* * * * *"),
    SystemSchedule("sched_expire", EXPIRE, "*/5 * * * *"),
    SystemSchedule("sched_renew_words", RENEW_WORDS, "*/10 * * * *"),
    SystemSchedule("sched_archive_jobs", ARCHIVE_JOBS, "17 3 * * *"),
    SystemSchedule("sched_discard_unfinished", DISCARD_UNFINISHED, "47 3 * * *"),
    SystemSchedule("sched_measure_storage", MEASURE_STORAGE, "5 * * * *"),
    # After the daily roll-ups. One run makes every report that is missing, also after an outage of weeks.
    SystemSchedule("sched_usage_reports", USAGE_REPORTS, "20 4 * * *"),
    SystemSchedule("sched_compute_hourly_stats", COMPUTE_HOURLY_STATS, "0 * * * *"),
    SystemSchedule("sched_compute_daily_analytics", COMPUTE_DAILY_ANALYTICS, "0 2 * * *"),
    SystemSchedule("sched_reconcile_analytics", RECONCILE_ANALYTICS, "30 2 * * *"),
    SystemSchedule("sched_delete_old_platform_data", DELETE_OLD_PLATFORM_DATA, "30 3 * * *"),
    SystemSchedule(
        "sched_enrich_customer_profile", ENRICH_CUSTOMER_PROFILE, "40 4 * * *", all_organisations=True
    ),
)


def create_system_schedules(connection: Connection[Any]) -> None:
    """Create the missing schedules of the cluster itself. Existing schedules do not change."""
    for schedule in SYSTEM_SCHEDULES:
        create_schedule(
            connection,
            SYSTEM,
            schedule.kind,
            Timing(cron=schedule.cron, time_zone=schedule.time_zone),
            schedule.arguments,
            options=ScheduleOptions(catch_up=schedule.catch_up),
            all_organisations=schedule.all_organisations,
            id=schedule.id,
        )
