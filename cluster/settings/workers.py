"""Workers: their number, and the slots for jobs in each of them."""

from typing import Self

from pydantic import Field, model_validator

from cluster.settings.values import Concern


class WorkerSettings(Concern):
    """Workers: their number, and the slots for jobs in each of them."""

    worker_slots_high: int = Field(default=1, ge=1)
    """Slots of a worker that only jobs of class ``high`` may take: somebody waits for those."""

    worker_slots_medium: int = Field(default=1, ge=1)
    """Slots of a worker that only jobs of class ``medium`` may take."""

    worker_slots_low: int = Field(default=1, ge=1)
    """Slots of a worker that only jobs of class ``low`` may take, so that they never starve."""

    worker_slots_scheduled: int = Field(default=1, ge=1)
    """Slots of a worker that only scheduled jobs may take."""

    worker_slots_shared: int = Field(default=2, ge=1)
    """Slots of a worker that any job may take, the highest class first."""

    min_workers: int = Field(default=1, ge=1)
    """Fewest workers."""

    max_workers: int = Field(default=1, ge=1)
    """Most workers; between the two their number follows what waits and for how long."""

    @model_validator(mode="after")
    def _workers_in_order(self) -> Self:
        if self.max_workers < self.min_workers:
            raise ValueError(f"max_workers={self.max_workers} is below min_workers={self.min_workers}")
        return self
