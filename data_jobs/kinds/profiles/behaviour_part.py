"""Computes the part ``behaviour`` of profiles in SQL: purchases, activity, sessions, trend, questions."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from psycopg import Connection

from cluster.profiles.behaviour import BEHAVIOUR, compute_behaviour
from cluster.profiles.profiles import write_part
from cluster.profiles.selection import Selection
from data_jobs.kinds.profiles.profile_part import PartCounts, for_each_page
from data_jobs.kinds.resources import Resources
from data_jobs.worker.job_attempt import JobAttempt


class BehaviourPart:
    """Computes and writes the behaviour of the selected customers, at most 500 in each transaction."""

    name = BEHAVIOUR.part

    def __init__(self, _: Resources) -> None:
        pass

    async def enrich(self, attempt: JobAttempt, selection: Selection) -> PartCounts:
        """Compute the behaviour of every selected customer."""
        return await for_each_page(attempt, selection, self.name, partial(_compute, selection))


def _compute(selection: Selection, connection: Connection[Any], customers: Sequence[str]) -> int:
    rows = compute_behaviour(connection, selection, customers)
    return write_part(connection, selection, BEHAVIOUR, rows)
