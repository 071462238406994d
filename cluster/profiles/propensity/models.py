"""Stores trained models of purchases, and the reasons why no model could be trained.

save_model(connection, "acme", trained)
latest_models(connection, "acme", limit=1)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cluster.database.queries import queries
from cluster.profiles.propensity.model import PropensityModel

SQL = queries("cluster.profiles.propensity", "models.sql")
#: Number of trainings that are kept for each organisation.
KEPT_MODELS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class PropensityTraining:
    """The outcome of one training."""

    #: Version of the model, or ``insufficient_data-`` and the time.
    version: str
    trained_at: datetime
    state: Literal["trained", "insufficient_data"]
    #: The parameters of the model; None if the data are insufficient.
    parameters: Mapping[str, Any] | None
    #: The validation and the calibration, or what is missing.
    report: Mapping[str, Any]

    @property
    def model(self) -> PropensityModel | None:
        """The model; None if the data are insufficient."""
        return None if self.parameters is None else PropensityModel.from_json(self.parameters)


def save_model(connection: Connection[Any], organisation: str, training: PropensityTraining) -> None:
    """Store the outcome of a training, and keep only the latest ``KEPT_MODELS`` outcomes, in the caller's
    transaction.
    """
    values = {
        "organisation": organisation,
        "version": training.version,
        "trained_at": training.trained_at,
        "state": training.state,
        "parameters": None if training.parameters is None else Jsonb(training.parameters),
        "report": Jsonb(training.report),
        "kept": KEPT_MODELS,
    }
    connection.execute(SQL["save"], values)
    connection.execute(SQL["prune"], values)


def latest_models(
    connection: Connection[Any], organisation: str, *, limit: int = KEPT_MODELS
) -> list[PropensityTraining]:
    """Return the latest trainings, the newest first."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(SQL["latest"], {"organisation": organisation, "limit": limit})
        return [PropensityTraining(**row) for row in rows]
