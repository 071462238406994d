"""The errors with which a stage of a job can end. The code of a job raises these errors, and ``job_runner``
records how the job ends.

raise StageFailed("parse", "the file is damaged", "refused")
"""

from datetime import datetime


class TryLater(Exception):
    """Raised if the job has to wait so long that it gives up its slot until ``run_at``.

    ``counts`` is False if the attempt does not count against the job's maximum number of attempts.
    """

    def __init__(self, run_at: datetime, because: str, code: str, *, counts: bool) -> None:
        super().__init__(because)
        self.run_at = run_at
        self.code = code
        self.counts = counts


class StageFailed(Exception):
    """Raised if a stage has used up its attempts, or failed with an error that a retry cannot fix."""

    def __init__(self, stage: str, error: str, code: str) -> None:
        super().__init__(f"{stage}: {error}")
        self.code = code
