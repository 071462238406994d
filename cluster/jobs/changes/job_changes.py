"""Find the jobs of some organisations that have changed since the last call.

Each change of a job adds an event to ``job_events``. The ids of events grow, but a transaction may commit an
event with a lower id after another transaction committed an event with a higher id. Therefore each call of
``ChangeReader.read`` reads the events of the last ``OVERLAP_S`` seconds again. It returns the jobs that have
an event which the previous call did not read.

    reader = ChangeReader()
    reader.read(connection, ["acme"])      # [], and later the jobs of "acme" that have changed
"""

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.jobs.jobs import Job, as_jobs, with_columns

SQL = with_columns("changes/job_changes.sql")
#: Maximum seconds by which an event may be committed later than an event with a higher id. An event that is
#: committed even later is not found.
OVERLAP_S = 10.0
#: Maximum number of jobs of one organisation that one call reads. If there are more, the jobs that changed
#: last are read.
MAX_JOBS = 400


class ChangeReader:
    """Reads the jobs that have changed. One thread at a time may use a reader."""

    def __init__(self) -> None:
        #: Times (``time.monotonic``) of the calls of ``read`` in the last ``OVERLAP_S`` seconds and of the
        #: last call before. Each time has the highest id of an event at that time.
        self._looks: deque[tuple[float, int]] = deque()
        #: Ids of the events that the last call of ``read`` read.
        self._seen: frozenset[int] = frozenset()

    def read(self, connection: Connection[Any], organisations: Sequence[str]) -> list[Job]:
        """Return the jobs of these organisations that changed since the last call. The job with the latest
        change is the first. The first call returns no jobs. The connection needs access to the rows of all
        organisations.
        """
        row = connection.execute(SQL["last_of_all"]).fetchone()
        assert row is not None
        now = time.monotonic()
        first = not self._looks
        self._looks.append((now, row[0]))
        while len(self._looks) > 1 and self._looks[1][0] < now - OVERLAP_S:
            self._looks.popleft()
        values = {"after": self._looks[0][1], "organisations": list(organisations), "limit": MAX_JOBS}
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(SQL["changed_of_all"], values).fetchall()
        events = [row.pop("events") for row in rows]
        changed = [
            job for job, ids in zip(as_jobs(rows), events, strict=True) if not self._seen.issuperset(ids)
        ]
        self._seen = frozenset(id for ids in events for id in ids)
        return [] if first else changed
