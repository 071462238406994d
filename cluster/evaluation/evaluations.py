"""Saves the measures of evaluations, so that the next evaluation of the same questions is compared with them.

save_evaluation(connection, "acme", "golden.jsonl", digest, measure_all(results))
newest_evaluation(connection, "acme", digest)
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cluster.database.queries import queries
from cluster.evaluation.measures import EvaluationMeasures

SQL = queries("cluster.evaluation", "evaluations.sql")
#: Number of evaluations that are kept for the same questions.
KEPT = 100
#: Name in the database for all agents together, because a name in a JSON object cannot be None.
ALL_AGENTS = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The measures of one evaluation."""

    id: str
    #: Name of the file of questions.
    name: str
    #: Digest of the questions.
    digest: str
    #: The measures by agent; the key None means all agents together.
    measures: Mapping[str | None, EvaluationMeasures]
    created_at: datetime


def newest_evaluation(connection: Connection[Any], organisation: str, digest: str) -> Evaluation | None:
    """Return the newest evaluation of the questions with this digest; None if there is none."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL["newest"], {"organisation": organisation, "digest": digest}).fetchone()
    return None if row is None else _evaluation(row)


def save_evaluation(
    connection: Connection[Any],
    organisation: str,
    name: str,
    digest: str,
    measures: Mapping[str | None, EvaluationMeasures],
) -> Evaluation:
    """Save an evaluation, and return it. Of the same questions, keep only the newest ``KEPT`` evaluations."""
    values = {
        "organisation": organisation,
        "id": f"eval_{uuid4().hex}",
        "name": name,
        "digest": digest,
        "measures": Jsonb({agent or ALL_AGENTS: asdict(one) for agent, one in measures.items()}),
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL["save"], values).fetchone()
        assert row is not None
        cursor.execute(SQL["forget_old"], {"organisation": organisation, "digest": digest, "kept": KEPT})
    return _evaluation(row)


def _evaluation(row: dict[str, Any]) -> Evaluation:
    measures = {agent or None: EvaluationMeasures(**values) for agent, values in row.pop("measures").items()}
    return Evaluation(measures=measures, **row)
