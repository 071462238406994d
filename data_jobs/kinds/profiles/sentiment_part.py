"""Computes the part ``sentiment`` of profiles: language and sentiment of what customers write."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from psycopg import Connection

from cluster.jobs import attempts
from cluster.profiles.messages.analyses import delete_analyses_without_consent
from cluster.profiles.messages.sentiment_values import sentiment_values
from cluster.profiles.profiles import PartVersion, write_part
from cluster.profiles.selection import Selection
from data_jobs.kinds.profiles.analyse_messages import analyse_messages
from data_jobs.kinds.profiles.profile_part import PartCounts, for_each_page
from data_jobs.kinds.resources import Resources
from data_jobs.stages.messages.analyse import AnalyseMessages, model_of_messages
from data_jobs.worker.job_attempt import JobAttempt

#: Why messages are not analysed, for the result of the job.
NO_MODEL = "a provider computes the vectors of the default model; set CLUSTER_PROFILES_MODEL"


class SentimentPart:
    """Analyses new messages with the model of the replicas, then writes the values of each customer.

    Args:
        resources: calls the replicas of the model.
    """

    name = "sentiment"

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def enrich(self, attempt: JobAttempt, selection: Selection) -> PartCounts:
        """Delete analyses without consent, analyse the new messages of every selected customer, and write the
        values.
        """

        def forget(connection: Connection[Any]) -> None:
            attempts.hold(connection, attempt.job)
            delete_analyses_without_consent(connection, selection)

        await attempt.in_transaction(forget)
        fingerprint = model_of_messages(attempt.settings)
        if fingerprint is None:
            return {"customers": 0, "skipped": NO_MODEL}
        stage = await attempt.in_thread(partial(AnalyseMessages, attempt.settings, fingerprint))
        analysed = await analyse_messages(attempt, self._resources, selection, stage)

        def work(connection: Connection[Any], customers: Sequence[str]) -> int:
            rows = sentiment_values(connection, selection, customers, stage.key)
            part = PartVersion(part=self.name, version=stage.key.version)
            return write_part(connection, selection, part, rows)

        written = await for_each_page(attempt, selection, self.name, work)
        return {**written, **analysed}
