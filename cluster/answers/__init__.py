"""Answer a question from an organisation's documents: find sources, write the prompt, stream the answer.

Chat completions, responses and the evaluation of agents call ``answer``.

    from cluster.answers import AnswerRequest, AnswerRules, answer
"""

from cluster.answers.answer import answer
from cluster.answers.contract import (
    AnswerEvent,
    AnswerRequest,
    AnswerRules,
    Citation,
    Done,
    FindChunks,
    Source,
    Sources,
    Text,
)
from cluster.answers.rules import retrieval_options, rules_of

__all__ = [
    "AnswerEvent",
    "AnswerRequest",
    "AnswerRules",
    "Citation",
    "Done",
    "FindChunks",
    "Source",
    "Sources",
    "Text",
    "answer",
    "retrieval_options",
    "rules_of",
]
