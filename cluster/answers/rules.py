"""The rules of an agent's answers, and the options of the searches that follow from them.

Live answers and the job that computes contexts before they are needed use the same functions, so both search
in the same way.

    rules = rules_of(agent.definition, cross_encoder=False)
    retrieval_options(rules, filters=None).max_chunks            # 8
"""

from collections.abc import Mapping
from typing import Any

from cluster.agents import AgentDefinition
from cluster.answers.contract import AnswerRules
from cluster.retrieval import Ranker, RetrievalOptions


def rules_of(definition: AgentDefinition, *, cross_encoder: bool) -> AnswerRules:
    """Return the rules of an agent.

    Args:
        definition: the definition of the agent.
        cross_encoder: True if the cluster has a cross-encoder.
    """
    retrieval = definition.retrieval
    return AnswerRules(
        instructions=definition.system_prompt,
        no_answer=retrieval.no_answer,
        max_sources=retrieval.k,
        threshold=retrieval.threshold,
        ranker=Ranker.CROSS_ENCODER if retrieval.rerank and cross_encoder else Ranker.FUSED,
        temperature=definition.temperature,
    )


def retrieval_options(rules: AnswerRules, filters: Mapping[str, Any] | None) -> RetrievalOptions:
    """Return the options of the search for an answer.

    A fused ranking gets the threshold 0 here, because ``answer`` compares cosine similarities with the
    threshold of the rules later.
    """
    return RetrievalOptions(
        max_chunks=rules.max_sources,
        score_threshold=0.0 if rules.ranker is Ranker.FUSED else rules.threshold,
        filters=filters,
        ranker=rules.ranker,
    )
