"""Check that no crawl has replaced the content of a file while a job indexed the file.

require_same_content(connection, file)
"""

from datetime import UTC, datetime
from typing import Any

from psycopg import Connection

from cluster.documents.files import File, get_file
from cluster.errors import NotFound
from cluster.jobs.jobs import REPLACED
from data_jobs.worker.stage_errors import TryLater


def require_same_content(connection: Connection[Any], file: File) -> None:
    """Check that the file still has the content that the job has read.

    Args:
        file: the file as it was when the job read it.

    Raises:
        TryLater: the file has other content now, so the job must begin again.
    """
    try:
        current = get_file(connection, file.organisation, file.id)
    except NotFound:  # the file has expired or is deleted, so its content does not matter any more
        return
    if current.sha256 != file.sha256:
        because = "the content of the file was replaced while it was indexed"
        raise TryLater(datetime.now(UTC), because, REPLACED, counts=False)
