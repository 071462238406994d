"""Limit the number of unfinished jobs of an organisation and of an API key.

``queue`` calls this module before it adds jobs for a request.

    require_room(connection, "acme", 3)
"""

from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.errors import Throttled
from cluster.organisations.caller import current_caller, current_key

SQL = queries("cluster.jobs", "job_quota.sql")
#: Seconds in ``Retry-After`` if there are too many unfinished jobs.
RETRY_AFTER_S = 5.0


def require_room(connection: Connection[Any], organisation: str, more: int) -> None:
    """Check that the current request may add so many jobs. Jobs that the cluster itself adds, such as jobs of
    schedules, are always accepted.

    If the organisation or the key of the request has a limit, other requests that add jobs for the
    organisation wait until the transaction ends.

    Raises:
        Throttled: the organisation or the key would have too many unfinished jobs.
    """
    if current_caller().request is None:
        return
    key = current_key()
    values = {"organisation": organisation, "key": key}
    limits = connection.execute(SQL["limits"], values).fetchone()
    if limits is None:
        return
    connection.execute(SQL["lock_unfinished"], values)
    unfinished = connection.execute(SQL["unfinished"], values).fetchone()
    assert unfinished is not None
    owners = (f"organisation {organisation}", f"the API key {key}")
    for owner, limit, jobs in zip(owners, limits, unfinished, strict=True):
        if limit and jobs + more > limit:
            raise Throttled(
                f"{owner} has {jobs:,} unfinished jobs of at most {limit:,} (jobs_limit), and this would add "
                f"{more:,}; wait until jobs have ended, or cancel some",
                retry_after_s=RETRY_AFTER_S,
            )
