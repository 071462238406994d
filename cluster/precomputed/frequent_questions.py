"""Finds the frequent questions of an agent: clusters of similar questions of its conversations.

asked = asked_questions(connection, "acme", agent, since=since)
frequent(asked, vectors, similarity=0.97, least=2, most=50)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from cluster.database.queries import queries

SQL = queries("cluster.precomputed", "frequent_questions.sql")
#: Maximum number of different texts that are clustered, and maximum number of characters of a text.
MAX_ASKED, MAX_CHARACTERS = 2_000, 2_000


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question that customers asked in exactly these words."""

    text: str
    #: Number of conversations with this text. ``frequent`` returns the number of a whole cluster here.
    conversations: int


def asked_questions(
    connection: Connection[Any], organisation: str, agent: str, *, since: datetime
) -> list[AskedQuestion]:
    """Return the questions of the agent's conversations since this time, most frequent first."""
    values = {
        "organisation": organisation,
        "agent": agent,
        "since": since,
        "max_characters": MAX_CHARACTERS,
        "limit": MAX_ASKED,
    }
    return [AskedQuestion(*row) for row in connection.execute(SQL["asked"], values)]


def frequent(
    asked: Sequence[AskedQuestion],
    vectors: NDArray[np.float32],
    *,
    similarity: float,
    least: int,
    most: int,
) -> list[AskedQuestion]:
    """Cluster the questions, and return the first question of each frequent cluster, most frequent first.

    The questions are read in their order. A question joins the most similar earlier question that began a
    cluster, or begins a cluster (leader clustering; Hartigan, Clustering Algorithms, 1975).

    Args:
        asked: n questions, most frequent first.
        vectors: (n, dim) float32, unit length.
        similarity: least cosine similarity of a question and the first question of its cluster.
        least: least number of conversations of a frequent cluster.
        most: maximum number of questions to return.
    """
    leaders: list[int] = []
    conversations: list[int] = []
    for position, question in enumerate(asked):
        if leaders:
            similarities = vectors[leaders] @ vectors[position]
            nearest = int(np.argmax(similarities))
            if similarities[nearest] >= similarity:
                conversations[nearest] += question.conversations
                continue
        leaders.append(position)
        conversations.append(question.conversations)
    order = sorted(range(len(leaders)), key=lambda number: (-conversations[number], number))
    return [
        AskedQuestion(asked[leaders[number]].text, conversations[number])
        for number in order[:most]
        if conversations[number] >= least
    ]
