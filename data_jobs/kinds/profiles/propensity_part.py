"""Computes the part ``propensity`` of profiles: trains a model of purchases, and scores customers with it.

A job for all customers trains a new model. Other jobs use the latest model, and train a model only if
there is none.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from psycopg import Connection

from cluster.jobs import attempts
from cluster.profiles.profiles import write_part
from cluster.profiles.propensity.models import PropensityTraining, latest_models, save_model
from cluster.profiles.propensity.scores import PROPENSITY, part_of, score
from cluster.profiles.propensity.training import read_training_data, train
from cluster.profiles.selection import Selection
from data_jobs.kinds.profiles.profile_part import PartCounts, for_each_page
from data_jobs.kinds.resources import Resources
from data_jobs.worker.job_attempt import JobAttempt


class PropensityPart:
    """Trains a model if necessary, then computes and writes the scores of the selected customers."""

    name = PROPENSITY

    def __init__(self, _: Resources) -> None:
        pass

    async def enrich(self, attempt: JobAttempt, selection: Selection) -> PartCounts:
        """Train a model if necessary, and score every selected customer."""
        training = await attempt.in_transaction(partial(_latest, selection))
        if training is None:
            window = timedelta(days=attempt.settings.propensity_days)
            read = partial(read_training_data, selection=selection, window=window)
            training = await attempt.in_thread(partial(train, await attempt.in_transaction(read)))
            await attempt.in_transaction(partial(_save, attempt, training))
        attempt.goes_on()
        counts = await for_each_page(attempt, selection, self.name, partial(_score, selection, training))
        return {**counts, "state": training.state, "version": training.version}


def _latest(selection: Selection, connection: Connection[Any]) -> PropensityTraining | None:
    """Return the training whose model is used; None if this job must train a model. If an earlier attempt at
    this job has trained a model, that training is returned.
    """
    found = latest_models(connection, selection.organisation, limit=1)
    if found and (not selection.of_all or found[0].trained_at >= selection.as_of):
        return found[0]
    return None


def _save(attempt: JobAttempt, training: PropensityTraining, connection: Connection[Any]) -> None:
    attempts.hold(connection, attempt.job)
    save_model(connection, attempt.job.organisation, training)


def _score(
    selection: Selection,
    training: PropensityTraining,
    connection: Connection[Any],
    customers: Sequence[str],
) -> int:
    rows = score(connection, selection, training, customers)
    return write_part(connection, selection, part_of(training), rows)
