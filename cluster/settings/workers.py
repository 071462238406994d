"""The workers: their number, and the slots for jobs in each one. A slot runs one job at a time."""

from typing import Self

from pydantic import Field, model_validator

from cluster.settings.values import Concern


class WorkerSettings(Concern):
    """The workers: their number, and the slots for jobs in each one. A slot runs one job at a time."""

    worker_slots_high: int = Field(default=1, ge=1)
    """Slots of a worker for jobs of the class ``high`` only, so that a person who waits never waits for other
    classes."""

    worker_slots_medium: int = Field(default=1, ge=1)
    """Slots of a worker for jobs of the class ``medium`` only."""

    worker_slots_low: int = Field(default=1, ge=1)
    """Slots of a worker for jobs of the class ``low`` only, so that they never starve."""

    worker_slots_scheduled: int = Field(default=1, ge=1)
    """Slots of a worker for jobs of the class ``scheduled`` only."""

    worker_slots_shared: int = Field(default=2, ge=1)
    """Slots of a worker for jobs of every class, the highest class first."""

    min_workers: int = Field(default=1, ge=1)
    """Lowest number of workers."""

    max_workers: int = Field(default=1, ge=1)
    """Highest number of workers. Between the two, the number follows the length and the age of the backlog.
    """

    @model_validator(mode="after")
    def _workers_in_order(self) -> Self:
        if self.max_workers < self.min_workers:
            raise ValueError(f"max_workers={self.max_workers} is below min_workers={self.min_workers}")
        return self
