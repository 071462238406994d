"""``Idempotency-Key``: a request that is sent twice is done once, and both get the same answer.

Every route that creates something takes ``Once`` and gives it its work, which runs in one transaction with the key:

    @router.post("/v1/vector_stores")
    async def create(body: CreateRequest, organisation: Organisation, once: Once) -> dict[str, Any]:
        return await once(lambda connection, index: described(create_store(connection, organisation, ...)))

The work gets a connection and the vector index, and returns the answer as JSON values. It may be called a second time, when the
database went away under the first. Without the header it is simply run in a transaction. What counts as the same request is its method,
path, query and body; a route that streams its body says itself what it was: ``await once(work, content=digest)``.

A key lasts a day. With another request it is refused with 400, as Stripe does; one that arrives while the first is being
answered waits for that answer. Refusals are not remembered: they may be tried again.
"""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Request
from psycopg import Connection

from cluster.errors import InvalidInput
from cluster.organisations.idempotency import answer_once
from cluster.records import digest
from cluster.vector_index import VectorIndex
from serve_app.edge.authentication import Organisation
from serve_app.edge.service_access import service_of

HEADER = "idempotency-key"
LONGEST_KEY = 255

Work = Callable[[Connection[Any], VectorIndex], dict[str, Any]]


class OnceOnly:
    """For one request; see the module's docstring."""

    def __init__(self, request: Request, organisation: str) -> None:
        self._request = request
        self._organisation = organisation
        self._key = _key(request)

    async def __call__(self, work: Work, *, content: str | None = None) -> dict[str, Any]:
        """Do the work in a transaction, unless it was done before: its answer.

        Args:
            content: what the request holds, where its body was streamed; None: its body.

        Raises:
            KeyReused: the key came with another request before.
            Unavailable: the database does not answer.
        """
        service, organisation, key = service_of(self._request), self._organisation, self._key
        if key is None:
            return await service.in_transaction(work)
        said = (await self._request.body()).hex() if content is None else content
        url = self._request.url
        request = digest(self._request.method, url.path, url.query, said)
        return await service.in_transaction(
            lambda connection, index: answer_once(
                connection, organisation, key, request, lambda: work(connection, index)
            )
        )


async def _once(request: Request, organisation: Organisation) -> OnceOnly:
    return OnceOnly(request, organisation)


Once = Annotated[OnceOnly, Depends(_once)]


def _key(request: Request) -> str | None:
    key = request.headers.get(HEADER)
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise InvalidInput(
            f"Idempotency-Key must have 1 to {LONGEST_KEY} printable ASCII characters",
            param="Idempotency-Key",
        )
    return key
