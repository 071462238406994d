"""Jobs: leases, attempts, timeouts, and what becomes of finished jobs."""

from pydantic import Field

from cluster.settings.values import Concern, FolderOrUrl


class JobSettings(Concern):
    """Jobs: leases, attempts, timeouts, and what becomes of finished jobs."""

    lease_s: float = Field(default=30.0, gt=1)
    """A worker that says nothing for this long counts as dead, and its jobs are given to others."""

    job_attempts: int = Field(default=3, ge=1)
    """Times a job about a file is begun before it counts as failed, when its worker dies under it; the deletion of a store: three times."""

    stage_attempts: int = Field(default=3, ge=1)
    """Times a stage of a job is tried before the job counts as failed."""

    index_attempts: int = Field(default=5, ge=1)
    """The same for writes to the vector index."""

    stage_timeout_s: float = Field(default=600.0, gt=0)
    """A stage in which nothing gets done for so long (no page range parsed, no call of the model answered) is ended: a try that failed."""

    archive_url: FolderOrUrl | None = None
    """Where retention puts finished jobs as Parquet files. Unset: ``archive`` under ``home``."""

    retention_days: float = Field(default=30.0, gt=0)
    """Jobs that finished longer ago are archived and leave the database."""
