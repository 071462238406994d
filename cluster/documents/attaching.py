"""What attaching files needs: whether they are there, which of their jobs go on, and which end because another one takes their place.

Called by ``store_files.attach_many``, in its transaction, and by the worker whose job has lost its file.
"""

from collections.abc import Mapping
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.errors import InvalidInput, NotFound
from cluster.formats import DOCUMENT_PURPOSES
from cluster.jobs import queue
from cluster.jobs.jobs import REPLACED

SQL = queries("cluster.documents", "attaching.sql")


def require_files(connection: Connection[Any], owner: dict[str, Any]) -> None:
    """Return if the organisation has all files of the owner.

    Raises:
        NotFound: naming the first that is not there.
        InvalidInput: files for another purpose than ``DOCUMENT_PURPOSES``.
    """
    there = dict(connection.execute(SQL["files"], owner).fetchall())
    missing = [file for file in owner["files"] if file not in there]
    if missing:
        more = f", nor {len(missing) - 1} others of those named" if len(missing) > 1 else ""
        raise NotFound(f"no file {missing[0]!r}{more}; nothing was attached")
    for file, purpose in there.items():
        if purpose not in DOCUMENT_PURPOSES:
            purposes = " or ".join(DOCUMENT_PURPOSES)
            raise InvalidInput(
                f"file {file!r} is for {purpose!r}, and a vector store takes files for {purposes}: upload it for one of these; "
                "nothing was attached"
            )


def open_jobs(
    connection: Connection[Any], wanted: Mapping[str, Mapping[str, Any] | None], owner: dict[str, Any]
) -> tuple[dict[str, str], dict[str, str]]:
    """By file, whose row is locked: jobs that do what is wanted already, and jobs that do something else and have to go.

    Args:
        wanted: by file, how it is to be cut.
        owner: organisation, vector store and files.
    """
    running: dict[str, str] = {}
    others: dict[str, str] = {}
    for file, job, strategy, open, goes_on in connection.execute(SQL["lock_many"], owner).fetchall():
        if open:
            (running if goes_on and strategy == wanted[file] else others)[file] = job
    return running, others


def replace_jobs(connection: Connection[Any], organisation: str, jobs: Mapping[str, str]) -> None:
    """Old jobs end because of new ones, and batches that wait for a file wait for its new job."""
    connection.execute(
        SQL["members_follow"], {"organisation": organisation, "old": list(jobs), "new": list(jobs.values())}
    )
    for old, new in jobs.items():
        reason = f"the file was attached anew: job {new} took its place"
        queue.cancel(connection, organisation, old, reason=reason, code=REPLACED)


def successor(connection: Connection[Any], organisation: str, store_id: str, file: str) -> str | None:
    """Id of the job that is the file's last one; None where the file is no longer attached."""
    row = connection.execute(
        SQL["successor"], {"organisation": organisation, "vector_store": store_id, "file": file}
    ).fetchone()
    return row[0] if row else None
