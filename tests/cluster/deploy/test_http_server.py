"""The middleware in Serve's own servers corrects Serve's plain-text errors and its second request id."""

import asyncio

import httpx
import pytest
from ray.serve._private.http_util import RequestIdMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, Response
from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.importer import import_from_string

from cluster.deploy.http_server import WithoutUpgrade, middlewares
from cluster.deploy.serve_config import ray_environment


def answered(response: Response) -> httpx.Response:
    """Return the response that a client of Serve gets."""
    app = RequestIdMiddleware(response)
    for one in middlewares():
        app = one.cls(app, *one.args, **one.kwargs)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            return await client.get("/v1/models", headers={"x-request-id": "of-serve"})

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("status", "becomes", "says", "retry_after"),
    [
        (404, 503, "starting", "2"),
        (503, 503, "no replica", "2"),
        (500, 500, "failed", None),
        (408, 408, "failed", None),
    ],
)
def test_serves_own_errors_have_the_shape_of_all_others(
    status: int, becomes: int, says: str, retry_after: str | None
) -> None:
    answer = answered(PlainTextResponse("Path '/v1/models' not found.", status))
    assert (answer.status_code, answer.headers.get("retry-after")) == (becomes, retry_after)
    assert says in answer.json()["error"]["message"]
    assert answer.headers.get_list("x-request-id") == ["of-serve"]
    assert answer.headers["openai-processing-ms"].isdigit()


@pytest.mark.parametrize(
    "response",
    [
        JSONResponse({"error": {"message": "no such path"}}, 404),
        PlainTextResponse("a file's text"),
        JSONResponse({"data": []}),
    ],
)
def test_answers_of_the_application_stay_unchanged(response: Response) -> None:
    response.headers["x-request-id"] = "ours"
    answer = answered(response)
    assert (answer.status_code, answer.content) == (response.status_code, response.body)
    assert answer.headers.get_list("x-request-id") == ["ours"]


def test_serve_finds_the_middlewares_and_uvicorn_takes_the_protocol() -> None:
    module, _, name = ray_environment()["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"].rpartition(".")
    assert (module, name) == (middlewares.__module__, middlewares.__name__)
    middlewares()
    assert import_from_string(HTTP_PROTOCOLS["auto"]) is WithoutUpgrade
