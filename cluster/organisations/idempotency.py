"""Answers to requests with an ``Idempotency-Key``: a repeated request gets the answer of the first request.

One transaction does the work of a request and stores the answer, so there is never work without a stored
answer. ``serve_app.edge.idempotency``, which every route that creates something uses, calls ``answer_once``.
``jobs.archive.retention`` and the job kind ``upkeep`` call ``delete_old_answers``.

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

#: An answer is kept for one day, which is usual for services with this header.
LIFETIME_S = 24 * 3600


class KeyReused(InvalidInput):
    """Raised if the key belongs to an earlier request with other content."""


def answer_once(
    connection: Connection[Any], organisation: str, key: str, request: str, work: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Do the work and return its answer; for a repeated request, only return the first answer.

    Call this inside a transaction; ``work`` runs in the same transaction. Requests with the same key run one
    after the other. Nothing is stored for a request that fails, so a repeated request does the work again.

    Args:
        key: the request's ``Idempotency-Key``.
        request: digest of the request's content.
        work: does the work, and returns the answer as a JSON object.

    Raises:
        KeyReused: the key belongs to an earlier request with other content.
    """
    values = {"organisation": organisation, "key": key, "request": request, "lifetime_s": LIFETIME_S}
    connection.execute(SQL["lock"], values)
    row = connection.execute(SQL["answered"], values).fetchone()
    if row is not None:
        first_request, answer = row
        if first_request != request:
            raise KeyReused(
                "this Idempotency-Key was used for another request before; send a new key",
                param="Idempotency-Key",
            )
        return dict(answer)
    answer = work()
    connection.execute(SQL["remember"], {**values, "answer": Jsonb(answer)})
    return answer


def delete_old_answers(connection: Connection[Any]) -> int:
    """Delete the answers that are older than ``LIFETIME_S``, of all organisations. Return their number."""
    return connection.execute(SQL["forget_of_all"], {"lifetime_s": LIFETIME_S}).rowcount
