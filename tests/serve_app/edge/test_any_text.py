"""Odd text in a request, such as half of a surrogate pair or NUL, gets a well-formed answer."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.serve_app.conftest import MODEL
from tests.serve_app.json_requests import json_request_bodies
from tests.serve_app.organisations.operations import tool_call

ODD = ["\ud800", "a\udfffb", "a\0b", "\x1b[31m", "n" * 5_000, "', --", "%s{0}"]
#: A valid request for each route with a JSON body. A test fails if a route is missing here.
VALID_REQUESTS: dict[str, Any] = {
    "/v1/embeddings": {"model": MODEL, "input": "a heron"},
    "/openai/deployments/{deployment}/embeddings": {"input": "a heron"},
    "/v1/chat/completions": {
        "model": "agent:none",
        "messages": [{"role": "user", "content": "a heron"}, {"role": "user", "content": [{"type": "text"}]}],
        "stop": ["odd"],
        "user": "odd",
        "metadata": {"conversation": "odd"},
    },
    "/v1/responses": {
        "model": "extractive",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "a heron"}]}],
        "instructions": "odd",
        "previous_response_id": "odd",
        "user": "odd",
        "metadata": {"k": "v"},
        "tools": [
            {"type": "file_search", "vector_store_ids": ["vs_none"], "ranking_options": {"ranker": "auto"}}
        ],
    },
    "/v1/tokenize": {"model": MODEL, "input": "a heron"},
    "/v1/rerank": {
        "query": "a heron",
        "documents": ["a bird", {"text": "a pump", "colour": "red"}],
        "return_documents": True,
    },
    "/rerank": {"query": "a heron", "texts": ["a bird", "a pump"], "return_text": True},
    "/embed": {"inputs": ["a heron"]},
    "/v2/embed": {"model": MODEL, "texts": ["a heron"], "input_type": "search_query"},
    "/mcp": tool_call("search", {"query": "a heron", "vector_stores": ["odd"]}),
    "/v1/vector_stores": {"name": "odd", "metadata": {"k": "v"}, "description": "d"},
    "/v1/vector_stores/{vector_store_id}": {"name": "odd"},
    "/v1/vector_stores/{vector_store_id}/files": {"file_id": "file-none", "attributes": {"k": "v"}},
    "/v1/vector_stores/{vector_store_id}/files/{file_id}": {"attributes": {"k": "v"}},
    "/v1/vector_stores/{vector_store_id}/file_batches": {"file_ids": ["file-none"]},
    "/v1/vector_stores/{vector_store}/search": {
        "query": "a heron",
        "ranking_options": {"ranker": "auto"},
        "filters": None,
    },
    "/v1/vector_stores/{vector_store_id}/vectors": {
        "vectors": [{"id": "a", "vector": [1.0], "text": "a heron", "attributes": {"k": "v"}}]
    },
    "/v1/vector_stores/{vector_store_id}/vectors/delete": {"ids": ["a"]},
    "/v1/batches": {
        "input_file_id": "file-none",
        "endpoint": "/v1/embeddings",
        "completion_window": "24h",
        "metadata": {"k": "v"},
    },
    "/v1/crawls": {
        "url": "https://docs.test/",
        "vector_store_id": "none",
        "includePaths": ["odd"],
        "attributes": {"k": "v"},
    },
    "/v1/crawls/discover": {"url": "ftp://docs.test/", "excludePaths": ["odd"]},
    "/api/v1/crawler/enqueue": {"url": "ftp://docs.test/", "vector_store": "odd"},
    "/v1/jobs": {"kind": "index_file", "input": {"file_id": "file-none", "vector_store_id": "none"}},
    "/v1/schedules": {
        "kind": "ingest_files",
        "input": {"vector_store_id": "none"},
        "cron": "0 2 * * *",
        "time_zone": "UTC",
        "name": "a name",
        "window": {"from": "22:00", "to": "06:00", "days": ["mon"]},
    },
    "/v1/schedules/{schedule_id}": {"input": {"vector_store_id": "none"}, "cron": "0 2 * * *"},
    "/v1/agents": {
        "external_id": "odd",
        **{name: "odd" for name in ("name", "model", "role", "goal", "backstory", "greeting")},
        "metadata": {"k": "v"},
        "knowledge": [{"text": "odd", "name": "odd"}, {"vector_store_id": "none"}, {"file_id": "none"}],
        "retrieval": {"no_answer": "odd"},
    },
    "/v1/agents/{agent_id}": {"name": "odd", "model": "odd", "instructions": "odd"},
    "/v1/agents/bulk": {
        "agents": [{"external_id": "odd", "goal": "odd"}],
        "defaults": {"greeting": "odd"},
        "file_id": "none",
    },
    "/v1/customers": {"external_id": "odd", "name": "odd", "email": "odd", "properties": {"k": ["v"]}},
    "/v1/customers/{customer_id}": {"name": "odd", "email": "odd", "properties": {"k": ["v"]}},
    "/v1/messages/{message_id}/feedback": {"rating": "positive", "comment": "odd"},
    "/v1/segments": {"name": "odd", "filters": {"type": "gt", "key": "sessions", "value": 1}},
    "/v1/jobs/retry": {"kind": "none", "subject": "none", "error_code": "none"},
    "/v1/uploads": {"filename": "a.txt", "purpose": "assistants", "bytes": 9, "mime_type": "text/plain"},
    "/v1/uploads/{upload_id}/complete": {"part_ids": ["part"], "md5": "0"},
    # Two fields are wrong, so that no test creates a key: every request of this server would need one then.
    "/v1/organisation/keys": {"name": "", "stores": ["vs_none"]},
    "/v1/organisation/keys/{key_id}": {"jobs_limit": 1},
    "/v1/organisation/keys/{key_id}/rotate": {"overlap_s": 0},
    "/v1/usage_reports": {"period": "none", "format": "csv"},
    "/v1/organisations": {"id": "no id!", "name": "odd", "time_zone": "UTC"},
    "/v1/organisations/{organisation_id}": {"name": "odd", "time_zone": "UTC"},
    # The key does not exist, so that no test creates a budget.
    "/v1/budgets": {"unit": "tokens", "period": "day", "warn_at": "9", "name": "odd", "key": "key_none"},
    "/v1/budgets/{budget_id}": {"name": "odd", "warn_at": "9"},
    # The URL is refused, so that no test creates an endpoint.
    "/v1/webhooks": {"url": "https://127.0.0.2/", "event_types": ["job.failed"], "name": "odd"},
    "/v1/webhooks/{webhook_endpoint_id}": {"name": "odd", "event_types": ["job.failed"]},
    "/v1/webhooks/{webhook_endpoint_id}/rotate_secret": {"keep_old_secret_active_for_24_hours": True},
    "/v1/webhooks/{webhook_endpoint_id}/test": {"event_type": "job.failed"},
}
#: OpenAI's paths of webhooks have the same models.
VALID_REQUESTS |= {
    path.replace("/v1/webhooks", "/v1/webhook_endpoints"): body
    for path, body in VALID_REQUESTS.items()
    if path.startswith("/v1/webhooks")
}
METHODS = dict.fromkeys(
    (
        "/v1/webhooks/{webhook_endpoint_id}",
        "/v1/schedules/{schedule_id}",
        "/v1/budgets/{budget_id}",
        "/v1/agents/{agent_id}",
        "/v1/customers/{customer_id}",
        "/v1/organisation/keys/{key_id}",
    ),
    "PATCH",
)
IDS = {"deployment": MODEL}


def path_with(path: str, id: str) -> str:
    """The path with this id in place of each parameter."""
    names = ("vector_store_id", "vector_store", "file_id", "upload_id", "deployment", "key_id")
    names += ("organisation_id", "webhook_endpoint_id", "schedule_id", "budget_id", "agent_id", "customer_id")
    names += ("message_id",)
    for name in names:
        path = path.replace(f"{{{name}}}", IDS.get(name, id))
    return path


def ask(http: httpx.Client, path: str, body: Any) -> httpx.Response:
    """Send the body to the path; half of a surrogate pair is sent as an escape sequence of JSON."""
    return http.request(
        METHODS.get(path, "POST"),
        path_with(path, "none"),
        content=json.dumps(body),
        headers={"content-type": "application/json"},
    )


def text_paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to each text in the value."""
    if isinstance(value, str):
        yield path
    for key, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from text_paths(inner, (*path, key))


def with_text_at(value: Any, path: tuple[Any, ...], text: Any) -> Any:
    """The value with the text at this path."""
    if not path:
        return text
    first, *rest = path
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[first] = with_text_at(value[first], tuple(rest), text)
    return changed


def test_every_route_with_a_body_is_listed_here() -> None:
    assert {one.path for one in json_request_bodies()} == VALID_REQUESTS.keys()


@pytest.mark.parametrize("path", VALID_REQUESTS)
def test_odd_text_in_any_field_gets_a_well_formed_answer(http: httpx.Client, path: str) -> None:
    for place in text_paths(VALID_REQUESTS[path]):
        for odd in ODD:
            check_answer(ask(http, path, with_text_at(VALID_REQUESTS[path], place, odd)))


@pytest.mark.parametrize("path", VALID_REQUESTS)
def test_odd_field_names_get_a_well_formed_answer(http: httpx.Client, path: str) -> None:
    for odd in ODD:
        check_answer(ask(http, path, {**VALID_REQUESTS[path], odd: "v"}))


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/{}",
        "/v1/files/{}",
        "/v1/files/{}/content",
        "/v1/files?after={}",
        "/v1/files?purpose={}",
        "/v1/vector_stores/{}",
        "/v1/vector_stores?after={}",
        "/v1/vector_stores/{}/files",
        "/v1/vector_stores/{}/files/a",
        "/v1/vector_stores/a/files/{}",
        "/v1/vector_stores/a/file_batches/{}",
        "/v1/crawls/{}",
        "/v1/crawls/{}/pages",
        "/v1/crawls?after={}",
        "/v1/jobs/{}",
        "/v1/jobs?kind={}",
        "/v1/jobs?after={}",
        "/v1/jobs/{}/events",
        "/v1/schedules/{}",
        "/v1/schedules?after={}",
        "/v1/schedules/{}/runs",
        "/tasks/{}",
        "/v1/jobs?{}=1",
        "/{}",
    ],
)
def test_odd_ids_get_a_well_formed_answer(http: httpx.Client, path: str) -> None:
    for odd in ("%00", "%ED%A0%80", "%FF", "a%0Ab", "%1B[31m", "n" * 5_000):
        check_answer(http.get(path.replace("{}", odd)))


def check_answer(response: httpx.Response) -> None:
    """Check that the answer is UTF-8, is no server error, and quotes neither Postgres nor pydantic."""
    assert response.status_code < 500, response.text
    answer = json.loads(response.content.decode())
    assert len(response.content) < 40_000
    assert "PostgreSQL" not in response.text
    assert "Input should" not in response.text
    if "jsonrpc" in answer:
        assert answer.keys() in ({"jsonrpc", "id", "result"}, {"jsonrpc", "id", "error"})
    elif response.status_code >= 400:
        assert answer["error"].keys() == {"message", "type", "param", "code"}


def test_answers_replace_half_surrogate_pairs(http: httpx.Client) -> None:
    def post(path: str, body: Any) -> Any:
        return http.post(path, content=json.dumps(body), headers={"content-type": "application/json"}).json()

    assert post("/v1/embeddings", {"model": "\ud800", "input": "a"})["error"]["message"].startswith(
        "The model `\ufffd` does not exist"
    )
    documents = ["a\ud800b", {"text": "c\udfff", "id": 2**70, "of": {"\ud800": [None, 1.5]}}]
    ranked = post("/v1/rerank", {"query": "q\ud800", "documents": documents, "return_documents": True})[
        "results"
    ]
    assert sorted((one["index"], one["document"]) for one in ranked) == [
        (0, {"text": "a\ufffdb"}),
        (1, {"text": "c\ufffd", "id": 2**70, "of": {"\ufffd": [None, 1.5]}}),
    ]
    embedded = post("/v2/embed", {"model": MODEL, "texts": ["a\ud800", "b"], "input_type": "search_query"})
    assert embedded["texts"] == ["a\ufffd", "b"]
    plain = post("/v2/embed", {"model": MODEL, "texts": ["a\ufffd", "b"], "input_type": "search_query"})
    assert embedded["embeddings"] == plain["embeddings"]


def test_a_document_nested_too_deeply_is_refused(http: httpx.Client) -> None:
    deep: Any = "x"
    for _ in range(150):
        deep = [deep]
    response = http.post(
        "/v1/rerank",
        json={"query": "q", "documents": ["a", {"text": "b", "deep": deep}], "return_documents": True},
    )
    assert (response.status_code, response.json()["error"]["param"]) == (400, "documents[1]")


@pytest.mark.parametrize(
    "path", [path for path in VALID_REQUESTS if path not in {"/v1/uploads/{upload_id}/complete"}]
)
def test_null_in_every_optional_field_changes_nothing(http: httpx.Client, path: str) -> None:
    (request,) = (one for one in json_request_bodies() if one.path == path)
    schema = request.schema
    optional = (
        schema["properties"].keys()
        - schema.get("required", [])
        - request.model.NULL_CLEARS
        - VALID_REQUESTS[path].keys()
    )
    plain, nulls = (
        ask(http, path, body)
        for body in (VALID_REQUESTS[path], {**VALID_REQUESTS[path], **dict.fromkeys(optional)})
    )
    assert plain.status_code == nulls.status_code
    assert "x-ignored-fields" not in nulls.headers
    if "embed" in path or "rerank" in path or "tokenize" in path:
        first, second = (
            {**one.json(), "id": ""} if isinstance(one.json(), dict) else one.json() for one in (plain, nulls)
        )
        assert first == second
