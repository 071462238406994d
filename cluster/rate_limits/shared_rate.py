"""Exchange the slices of rates with Postgres, in one transaction for all rates of a replica.

``leased_rates`` calls ``exchange``, and the nightly retention deletes what is left of unused rates.

    answers = exchange(connection, [rate.ask(now)], window_s=60.0)
"""

import time
from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.rate_limits.leased_rate import HELD_S, SliceGrant, SliceRequest

SQL = queries("cluster.rate_limits", "shared_rate.sql")
#: A slice has at most ``limit / SLICES``, unless a request needs more.
SLICES = 100
#: A slice has at most ``room / TAIL``, unless a request needs more. ``room`` is the amount that is left.
TAIL = 8


def exchange(
    connection: Connection[Any], asked: Sequence[SliceRequest], *, window_s: float
) -> dict[str, SliceGrant]:
    """Report ended slices and take new slices. Return the answers by the name of the rate.

    Args:
        connection: a connection in autocommit mode.
        asked: one request for each rate.
        window_s: length of the window in which the limits hold, in seconds.
    """
    now = time.monotonic()
    rates = [one.rate for one in asked]
    ended = [(one.rate, slice) for one in asked for slice in one.ended]
    settled = {
        "rates": [rate for rate, _ in ended],
        "ids": [slice.id for _, slice in ended],
        "used": [slice.used for _, slice in ended],
        "ages_s": [max(0.0, now - slice.at) for _, slice in ended],
        "windows_s": [window_s] * len(ended),
    }
    wanted = {
        "rates": rates,
        "ids": [one.id for one in asked],
        "limits": [one.limit for one in asked],
        "smallest": [one.smallest for one in asked],
        "largest": [one.largest for one in asked],
        "needs": [one.needed for one in asked],
        "windows_s": [window_s] * len(asked),
        "slices": SLICES,
        "tail": TAIL,
        "held_s": HELD_S,
    }
    # The statements are sent together with the commit, so a process that is stopped in between keeps no lock.
    with connection.pipeline():
        with connection.transaction():
            connection.execute(SQL["settings"], prepare=True)
            connection.execute(SQL["lock"], {"rates": rates}, prepare=True)
            if ended:
                connection.execute(SQL["settle"], settled, prepare=True)
            connection.execute(SQL["forget"], {"rates": rates}, prepare=True)
            found = connection.execute(SQL["take"], wanted, prepare=True)
        rows = found.fetchall()
    return {
        rate: SliceGrant(amount=amount, room=max(0, room), reset_s=reset_s, next_s=next_s, wait_s=wait_s)
        for rate, amount, room, reset_s, next_s, wait_s in rows
    }


def delete_expired_slices(connection: Connection[Any]) -> int:
    """Delete the slices that no longer count, also of rates that no replica uses. Return their number."""
    return connection.execute(SQL["delete_expired_of_all"]).rowcount
