"""Count the jobs by priority class and by kind, and the tokens that were embedded lately.

``/v1/overview`` and the console show the result.

    overview = read_overview(connection, "default", lease_s=30)
    overview.queues[PriorityClass.HIGH].oldest_wait_s     # 12.5
    overview.kinds["index_file"].dead_letters             # 3
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.jobs.figures import LATELY_S
from cluster.jobs.jobs import JobState, PriorityClass
from cluster.jobs.queue_tables import live_workers

SQL = queries("cluster.analytics.overview", "overview.sql")


@dataclass(kw_only=True, slots=True)
class QueueFigures:
    """Holds figures of the jobs of one priority class."""

    queued: int = 0
    running: int = 0
    #: Seconds for which the oldest queued job has been allowed to begin; 0 if no queued job may begin now.
    oldest_wait_s: float = 0.0


@dataclass(kw_only=True, slots=True)
class KindFigures:
    """Holds figures of the jobs of one kind."""

    queued: int = 0
    running: int = 0
    #: Number of jobs that succeeded in the last ``LATELY_S`` seconds.
    succeeded: int = 0
    #: Number of jobs that failed in the last ``LATELY_S`` seconds.
    failed: int = 0
    #: Number of jobs that were cancelled in the last ``LATELY_S`` seconds.
    cancelled: int = 0
    #: Number of failed jobs of any age. A failed job that is queued again no longer counts.
    dead_letters: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """Holds the figures of one organisation, or of the whole cluster, at one moment."""

    queues: Mapping[PriorityClass, QueueFigures]
    #: Figures of each kind that has jobs to count, by the name of the kind.
    kinds: Mapping[str, KindFigures]
    #: Number of tokens that were embedded in the last ``LATELY_S`` seconds.
    tokens: int
    #: Number of groups of slots in the live workers of the whole cluster. The slots of one priority class in
    #: one worker are a group.
    worker_slots: int


def read_overview(connection: Connection[Any], organisation: str | None, *, lease_s: float) -> Overview:
    """Read the figures of the organisation, or of all organisations if ``organisation`` is None. The
    connection needs access to the rows of these organisations.

    Args:
        lease_s: seconds without a heartbeat after which a worker counts as dead.
    """
    values = {"organisation": organisation, "within_s": LATELY_S}
    queues = {one: QueueFigures() for one in PriorityClass}
    kinds: defaultdict[str, KindFigures] = defaultdict(KindFigures)
    for kind, priority_class, queued, running, wait_s in connection.execute(SQL["unfinished"], values):
        queue = queues[PriorityClass(priority_class)]
        queue.queued += queued
        queue.running += running
        queue.oldest_wait_s = max(queue.oldest_wait_s, wait_s)
        kinds[kind].queued += queued
        kinds[kind].running += running
    for kind, state, count in connection.execute(SQL["ended"], values):
        if JobState(state).ended:
            setattr(kinds[kind], state, count)
    for kind, count in connection.execute(SQL["dead_letters"], values):
        kinds[kind].dead_letters = count
    row = connection.execute(SQL["tokens"], values).fetchone()
    assert row is not None
    return Overview(
        queues=queues,
        kinds=dict(sorted(kinds.items())),
        tokens=row[0],
        worker_slots=live_workers(connection, lease_s=lease_s),
    )
