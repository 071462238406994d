"""Answers to requests that carried an ``Idempotency-Key``: kept in the transaction of what they did, so that neither is there alone.

Called by ``serve_app.edge.idempotency``, which every route that creates something uses, and by upkeep.

    with connection.transaction():
        answer = answer_once(connection, "default", key, digest_of_the_request, lambda: {"id": ...})
"""

from collections.abc import Callable
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from cluster.database.queries import queries
from cluster.errors import InvalidInput

SQL = queries("cluster.organisations", "idempotency.sql")

#: As long as the services remember that callers know this from.
LIFETIME_S = 24 * 3600


class KeyReused(InvalidInput):
    """The key came with another request before."""


def answer_once(
    connection: Connection[Any], organisation: str, key: str, request: str, work: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """The work's answer; where this request was answered before, that answer, and nothing is done. Inside a transaction.

    Two that come at once are answered one after the other. What failed is not remembered and may be tried again.

    Args:
        request: digest of what was asked for.
        work: does it in the same transaction.

    Raises:
        KeyReused: the key stands for another request.
    """
    values = {"organisation": organisation, "key": key, "request": request, "lifetime_s": LIFETIME_S}
    connection.execute(SQL["lock"], values)
    row = connection.execute(SQL["answered"], values).fetchone()
    if row is not None:
        before, answer = row
        if before != request:
            raise KeyReused(
                "this Idempotency-Key came with another request before; take a new one",
                param="Idempotency-Key",
            )
        return dict(answer)
    answer = work()
    connection.execute(SQL["remember"], {**values, "answer": Jsonb(answer)})
    return answer


def forget_old(connection: Connection[Any]) -> int:
    """Forget answers of every organisation after a day; how many."""
    return connection.execute(SQL["forget_of_all"], {"lifetime_s": LIFETIME_S}).rowcount
