"""Spreads the requests to each host over time, for all crawls of the cluster together.

In Postgres, each host has a row with the time at which its next request may begin, and each request that is
not answered yet has a row. So the limits apply to all workers and organisations, even if a process dies.

    turn = take_turn(connection, "example.com", interval_s=1.0, at_once=2, lease_s=35.0)
    if turn.id is None:
        ...                                    # ask again in turn.wait_s
    else:
        ...                                    # send the request
        end_turn(connection, "example.com", turn.id, hold_back_s=0.0)
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from psycopg import Connection

from cluster.database.queries import queries

SQL = queries("cluster.crawls", "host_turns.sql")
#: Minimum seconds until a crawl asks again, if the host has the maximum number of simultaneous requests.
BUSY_WAIT_S = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class HostTurn:
    """The answer to a crawl that wants to send a request to a host."""

    #: Id of the request that may begin now; None if none may begin.
    id: UUID | None
    #: Seconds after which the crawl asks again; 0 if the request may begin.
    wait_s: float


def take_turn(
    connection: Connection[Any], host: str, *, interval_s: float, at_once: int, lease_s: float
) -> HostTurn:
    """Record the beginning of a request to the host if the limits permit a request now. The caller has
    opened a transaction.

    Args:
        host: result of ``urls.host_of``.
        interval_s: minimum seconds between the beginnings of two requests.
        at_once: maximum number of simultaneous requests.
        lease_s: seconds after which the request no longer counts, even if ``end_turn`` was not called.
    """
    connection.execute(SQL["settings_of_all"])
    connection.execute(SQL["lock_of_all"], {"host": host})
    id = uuid4()
    values = {"host": host, "id": id, "interval_s": interval_s, "at_once": at_once, "lease_s": lease_s}
    row = connection.execute(SQL["take_of_all"], values).fetchone()
    assert row is not None
    begun, wait_s, busy = row
    if begun:
        return HostTurn(id=id, wait_s=0.0)
    return HostTurn(id=None, wait_s=max(wait_s, BUSY_WAIT_S if busy else 0.0))


def end_turn(connection: Connection[Any], host: str, id: UUID, *, hold_back_s: float = 0.0) -> None:
    """Record the end of a request, in the caller's transaction.

    Args:
        hold_back_s: seconds for which the host gets no further request, because the host asked for a pause.
    """
    connection.execute(SQL["settings_of_all"])
    connection.execute(SQL["end_of_all"], {"host": host, "id": id})
    if hold_back_s > 0:
        hold_back(connection, host, hold_back_s)


def hold_back(connection: Connection[Any], host: str, wait_s: float) -> None:
    """Permit no new request to the host for ``wait_s`` seconds."""
    connection.execute(SQL["hold_back_of_all"], {"host": host, "wait_s": wait_s})


def forget_hosts(connection: Connection[Any]) -> int:
    """Delete the rows of hosts that have no open request, and whose next request could have begun more than a
    day ago. Return the number of deleted rows.
    """
    return connection.execute(SQL["forget_of_all"]).rowcount
