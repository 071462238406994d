"""The workers and their slots for jobs (a slot runs one job at a time), and the engines of bulk jobs."""

from typing import Self

from pydantic import Field, model_validator

from cluster.settings.values import Concern


class WorkerSettings(Concern):
    """The workers: their number, and the slots for jobs in each one. A slot runs one job at a time."""

    worker_slots_high: int = Field(default=1, ge=1)
    """Number of a worker's slots for jobs of the class ``high`` only, so that a person who waits for a result
    never waits for jobs of other classes."""

    worker_slots_medium: int = Field(default=1, ge=1)
    """Number of a worker's slots for jobs of the class ``medium`` only."""

    worker_slots_low: int = Field(default=1, ge=1)
    """Number of a worker's slots for jobs of the class ``low`` only, so that these jobs always make
    progress.
    """

    worker_slots_scheduled: int = Field(default=1, ge=1)
    """Number of a worker's slots for jobs of the class ``scheduled`` only."""

    worker_slots_shared: int = Field(default=2, ge=1)
    """Number of a worker's slots for jobs of every class. Jobs of the highest class begin first."""

    min_workers: int = Field(default=1, ge=1)
    """Minimum number of workers."""

    max_workers: int = Field(default=1, ge=1)
    """Maximum number of workers. Between the minimum and the maximum, the number follows the length and the
    age of the backlog.
    """

    worker_max_jobs: int = Field(default=0, ge=0)
    """Number of jobs after which a worker ends and a new process replaces the worker. Each worker adds up to
    a tenth at random, so that not all workers end at the same time. 0: no limit."""

    worker_max_memory_bytes: int = Field(default=0, ge=0)
    """Resident memory of a worker above which the worker ends after its running jobs, and a new process
    replaces the worker. Above twice this memory, the worker ends at once, and each running job loses an
    attempt. ``parse_memory_bytes`` limits the processes that parse documents. 0: no limit."""

    @model_validator(mode="after")
    def _workers_in_order(self) -> Self:
        if self.max_workers < self.min_workers:
            raise ValueError(f"max_workers={self.max_workers} is below min_workers={self.min_workers}")
        return self


class BulkSettings(Concern):
    """The engines of bulk jobs: their number and the size of their batches."""

    bulk_engines: int = Field(default=0, ge=0)
    """Number of engines of one bulk job. 0: one engine for each GPU, or one engine if there is no GPU."""

    bulk_batch_tokens: int = Field(default=16_384, ge=512)
    """Maximum number of tokens of a batch of a bulk job's engine. A CPU takes at most 2,048, because larger
    batches are not faster on a CPU. Replicas use ``replica_batch_tokens``."""
