"""Execute a request once if a client sends it twice with the same ``Idempotency-Key``. Both requests get the
same answer.

Every route that creates something depends on ``Once``, and passes the work of the request to ``once``. One
transaction does the work and stores the key:

    @router.post("/v1/vector_stores", response_model=VectorStoreObject)
    async def create_store(body: CreateStoreRequest, organisation: Organisation, once: Once) -> Response:
        return await once(lambda connection: VectorStoreObject.of(create_store(connection, ...)))

The work gets a connection and returns the answer's model. The work may run again if the database connection
is lost during the first run. Without the header, the work only runs in a transaction. Two requests are the
same if they have the same method, path, query and body. A route that streams its body passes a digest of the
body: ``await once(work, content=digest)``.

A key is kept for a day. A different request with the same key is refused with 400, as in Stripe's API.
A repeated request that arrives while the first request is still running waits for the answer of the first
request. Refusals are not stored, so a client may send a refused request again.
"""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Request
from psycopg import Connection
from starlette.responses import Response

from cluster.errors import InvalidInput
from cluster.organisations.idempotency import answer_once
from cluster.records import digest
from serve_app.edge.authentication import Organisation
from serve_app.edge.response_model import ResponseModel, json_response
from serve_app.edge.service_access import service_of

HEADER = "Idempotency-Key"
MAX_KEY_LENGTH = 255

Work = Callable[[Connection[Any]], ResponseModel]


class OnceOnly:
    """Executes the work of one request at most once for its ``Idempotency-Key``."""

    def __init__(self, request: Request, organisation: str) -> None:
        self._request = request
        self._organisation = organisation
        self._key = _key_of(request)

    async def __call__(self, work: Work, *, content: str | None = None) -> Response:
        """Run the work in a transaction, or return the stored answer of an earlier equal request.

        Args:
            content: digest of the body, if the route streamed the body; None: the request's body is used.

        Raises:
            KeyReused: an earlier, different request had the same key.
            Unavailable: the database does not answer.
        """
        service, organisation, key = service_of(self._request), self._organisation, self._key

        def answer(connection: Connection[Any]) -> dict[str, Any]:
            return work(connection).model_dump(mode="json")

        # ``json_response`` does not validate the answer, because a stored answer may come from an earlier
        # version of the application, with other fields.
        if key is None:
            return json_response(await service.in_transaction(answer))
        if content is None:
            content = (await self._request.body()).hex()
        url = self._request.url
        request = digest(self._request.method, url.path, url.query, content)
        return json_response(
            await service.in_transaction(
                lambda connection: answer_once(
                    connection, organisation, key, request, lambda: answer(connection)
                )
            )
        )


async def _once(request: Request, organisation: Organisation) -> OnceOnly:
    return OnceOnly(request, organisation)


Once = Annotated[OnceOnly, Depends(_once)]


def _key_of(request: Request) -> str | None:
    key = request.headers.get(HEADER)
    if key is not None and not (0 < len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable()):
        raise InvalidInput(
            f"{HEADER} must have 1 to {MAX_KEY_LENGTH} printable ASCII characters; send another key",
            param=HEADER,
        )
    return key
