"""The jobs: leases, attempts, timeouts, and the archive of finished jobs."""

from pydantic import Field

from cluster.settings.values import Concern, FolderOrUrl


class JobSettings(Concern):
    """The jobs: leases, attempts, timeouts, and the archive of finished jobs."""

    lease_s: float = Field(default=30.0, gt=1)
    """Seconds without a heartbeat after which a worker counts as dead and its jobs go to other workers."""

    job_attempts: int = Field(default=3, ge=1)
    """Maximum number of attempts at a job about a file. An attempt is used up when its worker dies. The
    deletion of a vector store always has three attempts."""

    stage_attempts: int = Field(default=3, ge=1)
    """Maximum number of attempts at one stage. The job fails after the last attempt."""

    index_attempts: int = Field(default=5, ge=1)
    """Maximum number of attempts at the stage that writes to the vector index."""

    stage_timeout_s: float = Field(default=600.0, gt=0)
    """Seconds without progress after which an attempt at a stage ends. Each parsed page range and each answer
    of the model is progress."""

    archive_url: FolderOrUrl | None = None
    """Where the Parquet files with archived jobs are stored: in a folder or a bucket. Unset: the folder
    ``archive`` under ``home``."""

    retention_days: float = Field(default=30.0, gt=0)
    """Days after which a finished job leaves the database for the archive."""
