"""Shows a job on the terminal until it ends. Commands that submit a job call ``ended_job``.

job = ended_job(pool, "acme", id, Console(stderr=True))
"""

import time

from psycopg_pool import ConnectionPool
from rich.console import Console

from cluster.database import translated
from cluster.jobs.jobs import Job, get_job

#: Seconds between two looks at the job, and between two lines of progress.
POLL_S, PROGRESS_INTERVAL_S = 0.2, 5.0


def ended_job(pool: ConnectionPool, organisation: str, id: str, console: Console) -> Job:
    """Show the progress of the job until it ends, and return the ended job."""
    shown = time.monotonic()
    while True:
        with translated(), pool.connection() as connection:
            job = get_job(connection, organisation, id)
        if job.state.ended:
            return job
        if time.monotonic() - shown >= PROGRESS_INTERVAL_S:
            shown = time.monotonic()
            total = "" if job.total is None else f" of {job.total:,}"
            console.print(f"{job.state}: {job.done:,}{total} {job.unit}", markup=False)
        time.sleep(POLL_S)
