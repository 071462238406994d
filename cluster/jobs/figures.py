"""Counts the jobs of all organisations, and measures their waits and stages, for metrics and alerts.

figures = job_figures(connection)
figures.oldest_wait_s[PriorityClass.HIGH]       # 12.5
figures.dead_letters["index_file"]              # 3
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.jobs.jobs import LINES, PriorityClass

SQL = {name: text.replace("{lines}", LINES) for name, text in queries("cluster.jobs", "figures.sql").items()}
#: The figures of ended jobs count the jobs that ended in the last ``LATELY_S`` seconds.
LATELY_S = 900.0


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFigures:
    """Figures of the jobs of all organisations at one moment."""

    #: Number of jobs by kind, priority class and state. The states are ``queued`` and ``running``.
    unfinished: Mapping[tuple[str, str, str], int]
    #: Seconds that the oldest job of each priority class has waited for a worker; 0 if no job waits. A job
    #: whose start time has not come does not count, and neither does a job that waits because of the
    #: concurrency limit of its organisation.
    oldest_wait_s: Mapping[str, float]
    #: Number of jobs that ended in the last ``LATELY_S`` seconds, by kind and state. The states are
    #: ``succeeded``, ``failed`` and ``cancelled``.
    ended: Mapping[tuple[str, str], int]
    #: Number of attempts that ended in the last ``LATELY_S`` seconds, by kind and outcome (column ``outcome``
    #: of ``job_attempts``). The outcome ``lost`` means that a lease expired. Only attempts of jobs that are
    #: unfinished, or that also ended in this time, count.
    attempts: Mapping[tuple[str, str], int]
    #: Number of failed jobs by kind. A person can queue a failed job again or delete the job.
    dead_letters: Mapping[str, int]
    #: Mean seconds of each stage of the jobs that ended in the last ``LATELY_S`` seconds, by kind and stage.
    stage_seconds: Mapping[tuple[str, str], float]


def job_figures(connection: Connection[Any]) -> JobFigures:
    """Read the figures from the database. The connection must have access to all organisations' rows."""
    lately = {"within_s": LATELY_S}
    oldest = dict(connection.execute(SQL["oldest_of_all"]).fetchall())
    return JobFigures(
        unfinished={
            (kind, of_class, state): count
            for kind, of_class, state, count in connection.execute(SQL["unfinished_of_all"])
        },
        oldest_wait_s={of_class.value: oldest.get(of_class.value, 0.0) for of_class in PriorityClass},
        ended={
            (kind, state): count for kind, state, count in connection.execute(SQL["ended_of_all"], lately)
        },
        attempts={
            (kind, outcome): count
            for kind, outcome, count in connection.execute(SQL["attempts_of_all"], lately)
        },
        dead_letters=dict(connection.execute(SQL["dead_letters_of_all"]).fetchall()),
        stage_seconds={
            (kind, stage): seconds
            for kind, stage, seconds in connection.execute(SQL["stages_of_all"], lately)
        },
    )
