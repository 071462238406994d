"""Count the answers of a replica, by how they ended.

``serve_app.answers.agent_answer`` counts, and ``answer_metrics`` publishes the counts.

    service.answer_stats.answered["quoted"] += 1
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

#: ``generated``: a chat model wrote the answer. ``quoted``: the answer quotes passages. ``nothing_found``: no
#: source was found. ``failed``: an error ended the answer. ``left``: the client left before the end.
AnswerOutcome = Literal["generated", "quoted", "nothing_found", "failed", "left"]
OUTCOMES: tuple[AnswerOutcome, ...] = ("generated", "quoted", "nothing_found", "failed", "left")


@dataclass(slots=True)
class AnswerStats:
    """Counters, which only grow."""

    #: Number of answers by outcome.
    answered: Counter[AnswerOutcome] = field(default_factory=Counter)
    #: Number of answers whose messages could not be stored.
    unrecorded: int = 0
