"""Shows a job on the terminal until it ends, with its result. Commands that submit a job call ``shown_end``.

return shown_end(pool, "acme", id, Console(stderr=True))
"""

import time

import orjson
from psycopg_pool import ConnectionPool
from rich.console import Console

from cluster.command import EXIT_FAILED
from cluster.database import translated
from cluster.jobs.jobs import Job, JobState, get_job

#: Exit code of a command whose job succeeded, but could not do everything.
EXIT_SOME_FAILED = 3
#: Seconds between two looks at the job, and between two lines of progress.
POLL_S, PROGRESS_INTERVAL_S = 0.2, 5.0


def shown_end(pool: ConnectionPool, organisation: str, id: str, console: Console) -> int:
    """Show the job until it ends, print its result as a line of JSON, and return the exit code.

    The result of the job must have the field ``failed``.
    """
    try:
        job = _ended_job(pool, organisation, id, console)
    except KeyboardInterrupt:
        console.print(f"interrupted; the job {id} continues, and POST /v1/jobs/{id}/cancel ends it")
        return EXIT_FAILED
    print(orjson.dumps({"job": job.id, "state": job.state, **(job.result or {})}).decode())
    if job.state != JobState.SUCCEEDED:
        console.print(f"error: job {id} is {job.state}: {job.error}", markup=False, soft_wrap=True)
        return EXIT_FAILED
    return EXIT_SOME_FAILED if (job.result or {})["failed"] else 0


def _ended_job(pool: ConnectionPool, organisation: str, id: str, console: Console) -> Job:
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
