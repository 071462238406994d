"""Estimate the quality of conversations from the vectors of their texts: rephrase rate and groundedness.

Both figures are heuristics. They compare texts by the cosine of their vectors, and so they are estimates, not
facts. ``DEFINITIONS`` explains both figures, and the job ``data_jobs.kinds.estimate_quality`` returns these
sentences with the figures.

    sample = read_sample(connection, period, limit=1_000)
    estimate(sample, vectors)          # Estimates(rephrase_rate=0.08, ...)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from cluster.database.queries import queries

SQL = queries("cluster.analytics", "heuristics.sql")
#: Two messages of a customer count as saying the same if their vectors have at least this cosine.
SAME = 0.8
#: An answer counts as supported if its vector and the vector of a source have at least this cosine.
SUPPORTED = 0.5
#: Maximum number of characters of a text that is compared, and maximum number of sources of an answer.
MAX_CHARACTERS, MAX_SOURCES = 2_000, 10
#: Fields of a source that can contain its text. A source can also be a plain text without fields.
TEXT_FIELDS = ("text", "content", "quote")

DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "rephrase_rate": "Heuristic: messages of customers that say the same as the message of the customer "
        f"before it in the conversation (cosine of the vectors of at least {SAME}), divided by all messages "
        "of customers that follow an earlier one. A high rate means that answers did not help.",
        "groundedness": "Heuristic: answers whose text is close to one of their sources (cosine of the "
        f"vectors of at least {SUPPORTED}), divided by all answers that name a source with its text. A low "
        "rate means that answers say what their sources do not say.",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledPeriod:
    """Says for which messages the figures are estimated."""

    organisation: str
    begin: datetime
    end: datetime
    #: Id of the agent; None: all agents.
    agent: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class QualitySample:
    """The texts that are compared."""

    #: Pairs of a customer's message and the customer's previous message in the conversation.
    repeated: Sequence[tuple[str, str]]
    #: Pairs of an answer and the texts of its sources.
    answers: Sequence[tuple[str, Sequence[str]]]

    def texts(self) -> list[str]:
        """Return each text once, in a fixed order."""
        pairs = [text for pair in self.repeated for text in pair]
        sources = [text for answer, sources in self.answers for text in (answer, *sources)]
        return list(dict.fromkeys([*pairs, *sources]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimates:
    """The figures, each with the number of cases. A figure without a case is None."""

    rephrase_rate: float | None
    rephrase_n: int
    groundedness: float | None
    groundedness_n: int


def read_sample(connection: Connection[Any], period: SampledPeriod, *, limit: int) -> QualitySample:
    """Read at most ``limit`` pairs of messages and ``limit`` answers of the period. If the period has
    more, choose by the hash of the message ids, so that the choice is even and always the same. Then leave
    out the answers whose sources have no text.
    """
    values = {
        "organisation": period.organisation,
        "begin": period.begin,
        "end": period.end,
        "agent": period.agent,
        "limit": limit,
        "characters": MAX_CHARACTERS,
    }
    answers = []
    for text, sources in connection.execute(SQL["answers"], values):
        texts = [found for source in sources[:MAX_SOURCES] if (found := _text_of(source))]
        if texts:
            answers.append((text, texts))
    return QualitySample(repeated=connection.execute(SQL["repeated"], values).fetchall(), answers=answers)


def estimate(sample: QualitySample, vectors: Mapping[str, NDArray[np.float32]]) -> Estimates:
    """Compute the figures from the vectors of the texts.

    Args:
        vectors: for each text of the sample, its vector of unit length, (dim,) float32.
    """
    same = [float(vectors[one] @ vectors[other]) >= SAME for one, other in sample.repeated]
    supported = [
        max(float(vectors[answer] @ vectors[source]) for source in sources) >= SUPPORTED
        for answer, sources in sample.answers
    ]
    return Estimates(
        rephrase_rate=_share(same),
        rephrase_n=len(same),
        groundedness=_share(supported),
        groundedness_n=len(supported),
    )


def _share(cases: Sequence[bool]) -> float | None:
    return round(sum(cases) / len(cases), 6) if cases else None


def _text_of(source: Any) -> str:
    """Return the first ``MAX_CHARACTERS`` of a source's text; empty if no text is in a known place."""
    if isinstance(source, dict):
        source = next((source[name] for name in TEXT_FIELDS if isinstance(source.get(name), str)), "")
    return source[:MAX_CHARACTERS].strip() if isinstance(source, str) else ""
