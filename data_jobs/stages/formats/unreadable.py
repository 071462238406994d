"""How a format says that a document gives no text: the outcome, and a sentence a person understands."""

from cluster.records import Outcome


class Unreadable(Exception):
    """The document ends here.

    Args:
        outcome: any but ok.
        detail: completes "The document ...".
    """

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail
