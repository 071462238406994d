"""Count the answers of a replica by their outcome.

``serve_app.answers.agent_answer`` counts, and ``answer_metrics`` publishes the counts.

    service.answer_stats.answered["quoted"] += 1
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from cluster.errors import Throttled

#: ``generated``: a chat model wrote the answer. ``quoted``: the answer quotes passages. ``nothing_found``: no
#: source was found. ``failed``: an error ended the answer. ``left``: the client left before the end.
AnswerOutcome = Literal["generated", "quoted", "nothing_found", "failed", "left"]
OUTCOMES: tuple[AnswerOutcome, ...] = ("generated", "quoted", "nothing_found", "failed", "left")


#: Maximum number of answers that a replica writes at the same time. A replica takes 256 requests at the same
#: time, so slow chat servers leave room for embeddings and searches.
MAX_RUNNING = 192


@dataclass(slots=True)
class AnswerStats:
    """The number of answers that are being written, and counters, which only grow."""

    #: Number of answers that are being written now.
    running: int = 0

    #: Number of answers by outcome.
    answered: Counter[AnswerOutcome] = field(default_factory=Counter)
    #: Number of answers whose messages could not be stored.
    unrecorded: int = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count an answer as running inside the block.

        Raises:
            Throttled: ``MAX_RUNNING`` answers are running already.
        """
        if self.running >= MAX_RUNNING:
            raise Throttled(
                f"this replica writes {self.running} answers at the same time and accepts no more; send the "
                "request again in a second, or add replicas",
                retry_after_s=1.0,
            )
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
