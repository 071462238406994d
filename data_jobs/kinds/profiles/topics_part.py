"""Computes the part ``topics`` of profiles: what customers write about.

A job for all customers renews the topics of the organisation. Other jobs use the latest topics.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from psycopg import Connection

from cluster.jobs import attempts
from cluster.profiles.messages.topic_rows import (
    TopicChange,
    compute_topics,
    read_topic_data,
    read_topics,
    save_topics,
    topic_values,
)
from cluster.profiles.profiles import PartVersion, write_part
from cluster.profiles.selection import Selection
from data_jobs.kinds.profiles.profile_part import PartCounts, for_each_page
from data_jobs.kinds.profiles.sentiment_part import NO_MODEL
from data_jobs.kinds.resources import Resources
from data_jobs.stages.messages.analyse import model_of_messages
from data_jobs.worker.job_attempt import JobAttempt

#: Version of the rules in ``cluster.profiles.messages``.
VERSION = "topics-1"


class TopicsPart:
    """Renews the topics if the job is for all customers, then writes the topics of each customer."""

    name = "topics"

    def __init__(self, _: Resources) -> None:
        pass

    async def enrich(self, attempt: JobAttempt, selection: Selection) -> PartCounts:
        """Renew the topics if the job is for all customers, and write topics of selected customers."""
        fingerprint = model_of_messages(attempt.settings)
        if fingerprint is None:
            return {"customers": 0, "skipped": NO_MODEL}
        space, renewed = fingerprint.id, {}
        if selection.of_all:
            data = await attempt.in_transaction(partial(read_topic_data, selection=selection, space=space))
            attempt.goes_on()
            if data.messages:
                change = await attempt.in_thread(partial(compute_topics, data))
                await attempt.in_transaction(partial(_save, attempt, selection, change))
                renewed = {"version": change.version, "agreement": change.agreement}
            attempt.goes_on()
        topics = await attempt.in_transaction(
            partial(read_topics, organisation=selection.organisation, space=space)
        )

        def work(connection: Connection[Any], customers: Sequence[str]) -> int:
            rows = topic_values(connection, selection, customers, topics, space)
            return write_part(connection, selection, PartVersion(part=self.name, version=VERSION), rows)

        written = await for_each_page(attempt, selection, self.name, work)
        return {**written, "topics": len(topics), **renewed}


def _save(
    attempt: JobAttempt, selection: Selection, change: TopicChange, connection: Connection[Any]
) -> None:
    attempts.hold(connection, attempt.job)
    save_topics(connection, selection, change)
