"""The measures of an evaluation, from the rank of the right source of each question.

    result = QuestionResult(question=golden, rank=2, found=True, seconds=0.2, first_text_s=0.1)
    measure([result]).mrr                          # 0.5

hit@k is the share of the questions whose right source is among the first k sources. MRR is the mean of
1 / rank, where a missing source counts as 0 (Voorhees, TREC-8 Question Answering Track, 1999).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cluster.evaluation.golden import GoldenQuestion

#: Measures that a comparison checks, each with True if higher values are better.
COMPARED: Mapping[str, bool] = {"hit_at_1": True, "hit_at_5": True, "mrr": True, "no_answer_rate": False}


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionResult:
    """What an agent answered to one golden question."""

    question: GoldenQuestion
    #: Position of the first right source, from 1; None if no source is right.
    rank: int | None = None
    #: False if the agent said that it found nothing, or gave no answer.
    found: bool = False
    #: Names of the sources, best first.
    sources: Sequence[str] = ()
    #: Seconds until the first text of the answer.
    first_text_s: float = 0.0
    #: Seconds until the end of the answer.
    seconds: float = 0.0
    #: Why there is no answer; None if there is one.
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationMeasures:
    """The measures of several questions. A measure is None if no question counts for it."""

    questions: int
    #: Number of questions that failed with an error. If such a question has an answer in the documents, it
    #: counts as not found; otherwise, ``right_refusals`` leaves it out.
    errors: int
    hit_at_1: float | None
    hit_at_5: float | None
    mrr: float | None
    #: Share of the answerable questions to which the agent said that it found nothing.
    no_answer_rate: float | None
    #: Share of the questions without an answer in the documents to which the agent said that it found
    #: nothing.
    right_refusals: float | None
    #: Seconds until the first text: the median, and the 95th percentile.
    first_text_p50_s: float | None
    first_text_p95_s: float | None
    #: Seconds until the end of the answer: the median, and the 95th percentile.
    seconds_p50: float | None
    seconds_p95: float | None


def measure(results: Sequence[QuestionResult]) -> EvaluationMeasures:
    """Compute the measures of these results."""
    answerable = [result for result in results if not result.question.nothing]
    unanswerable = [result for result in results if result.question.nothing and result.error is None]
    ranks = [result.rank for result in answerable]
    answered = [result for result in results if result.error is None]
    first, whole = [one.first_text_s for one in answered], [one.seconds for one in answered]
    return EvaluationMeasures(
        questions=len(results),
        errors=len(results) - len(answered),
        hit_at_1=_mean([rank == 1 for rank in ranks]),
        hit_at_5=_mean([rank is not None and rank <= 5 for rank in ranks]),
        mrr=_mean([0.0 if rank is None else 1 / rank for rank in ranks]),
        no_answer_rate=_mean([not result.found for result in answerable]),
        right_refusals=_mean([not result.found for result in unanswerable]),
        first_text_p50_s=_quantile(first, 0.5),
        first_text_p95_s=_quantile(first, 0.95),
        seconds_p50=_quantile(whole, 0.5),
        seconds_p95=_quantile(whole, 0.95),
    )


def measure_all(results: Sequence[QuestionResult]) -> dict[str | None, EvaluationMeasures]:
    """Compute the measures of all questions together, with the key None, and then those of each agent, in the
    order of the agents' first questions.
    """
    agents: dict[str, list[QuestionResult]] = {}
    for result in results:
        agents.setdefault(result.question.agent, []).append(result)
    return {None: measure(results), **{agent: measure(own) for agent, own in agents.items()}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Regression:
    """A measure that is worse than in the earlier evaluation."""

    #: The agent; None for the measure of all questions.
    agent: str | None
    measure: str
    before: float
    now: float

    def __str__(self) -> str:
        whose = "all agents" if self.agent is None else f"agent {self.agent}"
        return f"{whose}: {self.measure} was {self.before:.3f} and is {self.now:.3f}"


def regressions(
    now: Mapping[str | None, EvaluationMeasures],
    before: Mapping[str | None, EvaluationMeasures],
    *,
    tolerance: float,
) -> list[Regression]:
    """Return the measures that are worse than before by more than the tolerance.

    Args:
        now: the measures by agent; the key None means all agents together.
        before: the measures of the earlier evaluation of the same questions.
        tolerance: 0 to 1; smaller differences are no regression.
    """
    worse: list[Regression] = []
    for agent, measures in now.items():
        for name, higher_is_better in COMPARED.items():
            old, new = getattr(before.get(agent), name, None), getattr(measures, name)
            if old is None or new is None:
                continue
            loss = old - new if higher_is_better else new - old
            if loss > tolerance + 1e-9:
                worse.append(Regression(agent=agent, measure=name, before=old, now=new))
    return worse


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _quantile(values: Sequence[float], q: float) -> float | None:
    return float(np.quantile(values, q)) if values else None
