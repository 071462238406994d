"""A key allows what its scopes and lists say, on every route of the OpenAPI document."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from openai import AuthenticationError, OpenAI, PermissionDeniedError
from psycopg_pool import ConnectionPool

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from tests.conftest import new_organisation
from tests.openai_contract import complaints
from tests.serve_app.conftest import MODEL, PROMPTED, Server, bearer
from tests.serve_app.organisations.operations import (
    NOTHING,
    ask,
    names_a_model,
    names_a_store,
    operations,
    tool_call,
)
from tests.waiting import LONGEST_WAIT_S, Stopwatch, until

NewClient = Callable[..., httpx.Client]


@pytest.fixture(scope="module")
def keyed_pool(keyed_server: Server) -> Any:
    """Connections to the database of the server with keys."""
    pool = open_pool(keyed_server.service.settings, access=OWNER)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def organisation(keyed_pool: ConnectionPool) -> str:
    """An organisation of that database."""
    return new_organisation(keyed_pool)


@pytest.fixture(scope="module")
def client_with(keyed_server: Server, operator: httpx.Client, organisation: str) -> Any:
    """``client_with(scopes=["read"])`` makes a key of the organisation and a client that sends it."""
    clients: list[httpx.Client] = []

    def make(**properties: Any) -> httpx.Client:
        answer = operator.post(
            "/v1/organisation/keys",
            json={"name": "test", **properties},
            headers={"openai-organization": organisation},
        )
        assert answer.status_code == 200, answer.text
        headers = bearer(answer.json()["key"])
        clients.append(httpx.Client(base_url=keyed_server.url, timeout=LONGEST_WAIT_S, headers=headers))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.mark.parametrize("scope", ["read", "write", "admin"])
def test_every_route_needs_the_scope_that_the_document_names(client_with: NewClient, scope: str) -> None:
    client = client_with(scopes=[scope])
    for operation in operations():
        answer = ask(client, operation, NOTHING)
        refused = answer.status_code == 403
        assert refused == (operation.scope != scope), f"{operation}: {answer.text}"
        if refused:
            assert complaints("ErrorResponse", answer.json()) == []
            assert answer.json()["error"]["code"] == "insufficient_permissions"


def test_scopes_follow_what_a_route_does() -> None:
    scopes = {str(operation): operation.scope for operation in operations()}
    assert {scope for name, scope in scopes.items() if name.startswith("GET /v1/organisation/")} == {"admin"}
    assert scopes["POST /v1/embeddings"] == scopes["POST /v1/vector_stores/{vector_store}/search"] == "read"
    assert scopes["POST /v1/files"] == scopes["DELETE /v1/files/{file_id}"] == "write"
    changing = [name for name, scope in scopes.items() if scope == "read" and not name.startswith("GET")]
    assert not [name for name in changing if not name.startswith("POST")]


def things_of(client: httpx.Client) -> dict[str, str]:
    """A store with a file, and a batch of it."""
    file = client.post(
        "/v1/files", files={"file": ("a.txt", b"text of a file")}, data={"purpose": "assistants"}
    ).json()["id"]
    store = client.post("/v1/vector_stores", json={"file_ids": [file]}).json()["id"]
    batch = client.post(f"/v1/vector_stores/{store}/file_batches", json={"file_ids": [file]}).json()["id"]
    return {**NOTHING, "vector_store_id": store, "file_id": file, "file_batch": batch}


def test_a_key_with_a_list_of_stores_reaches_no_other_on_any_route(client_with: NewClient) -> None:
    owner = client_with()
    own, other = things_of(owner), things_of(owner)
    limited = client_with(stores=[own["vector_store_id"]])
    named = [one for one in operations() if names_a_store(one) and one.scope in {"read", "write"}]
    assert len(named) > 15
    for operation in named:
        answer = ask(limited, operation, other)
        assert answer.status_code == 403, f"{operation}: {answer.text}"
        assert answer.json()["error"]["code"] == "insufficient_permissions"
    assert limited.post("/v1/vector_stores", json={"name": "new"}).status_code == 403
    assert limited.post("/upload", files={"file": ("a.txt", b"text")}).status_code == 403
    listed = [store["id"] for store in limited.get("/v1/vector_stores").json()["data"]]
    assert listed == [own["vector_store_id"]]
    assert limited.get(f"/v1/vector_stores/{own['vector_store_id']}").status_code == 200
    missing = limited.post("/v1/vector_stores/absent/search", json={"query": "a"})
    assert missing.status_code == 404
    assert other["vector_store_id"] not in missing.text
    assert owner.get(f"/v1/vector_stores/{other['vector_store_id']}").json()["name"] == ""


def test_the_tools_of_a_key_with_a_list_of_stores_reach_no_other(client_with: NewClient) -> None:
    owner = client_with()
    own, other = things_of(owner)["vector_store_id"], things_of(owner)["vector_store_id"]
    limited = client_with(stores=[own], scopes=["read"])

    def call(tool: str, **arguments: Any) -> str:
        return limited.post("/mcp", json=tool_call(tool, arguments)).text

    assert own in call("list_vector_stores")
    assert other not in call("list_vector_stores")
    for answer in (
        call("search", query="text", vector_stores=[other]),
        call("search", query="text", vector_stores=[own, other]),
        call("fetch", id=f"{other}/a"),
    ):
        assert '"isError":true' in answer
        assert "this API key may not use the vector store" in answer
    assert '"isError":false' in call("search", query="text")


def test_a_key_with_a_list_of_models_uses_no_other_on_any_route(client_with: NewClient) -> None:
    owner = client_with()
    things = {**things_of(owner), "model": MODEL}
    limited = client_with(models=[PROMPTED])
    named = [one for one in operations() if names_a_model(one)]
    assert len(named) > 8
    for operation in named:
        answer = ask(limited, operation, things)
        assert answer.status_code == 403, f"{operation}: {answer.text}"
    assert limited.post("/v1/vector_stores", json={}).status_code == 403
    assert limited.post("/v1/jobs", json={"kind": "estimate_quality", "input": {}}).status_code == 403
    search = f"/v1/vector_stores/{things['vector_store_id']}/search"
    assert limited.post(search, json={"query": "a heron"}).status_code == 403
    assert [model["id"] for model in limited.get("/v1/models").json()["data"]] == [PROMPTED]
    request = {"model": PROMPTED, "input": "a heron"}
    assert limited.post("/v1/embeddings", json=request).status_code == 200
    batch = {"input_file_id": "file-none", "endpoint": "/v1/embeddings", "completion_window": "24h"}
    assert limited.post("/v1/batches", json=batch).status_code == 403


def test_the_openai_client_gets_its_own_errors_and_a_revoked_key_stops_within_a_second(
    keyed_server: Server, operator: httpx.Client
) -> None:
    made = operator.post("/v1/organisation/keys", json={"name": "ci", "scopes": ["read"]}).json()
    with OpenAI(base_url=f"{keyed_server.url}/v1", api_key=made["key"], max_retries=0) as client:
        assert client.embeddings.create(model=MODEL, input="a heron").data
        with pytest.raises(PermissionDeniedError, match="scope write"):
            client.vector_stores.create()
        operator.delete(f"/v1/organisation/keys/{made['id']}")
        revoked = Stopwatch()
        until(lambda: refuses(client))
        assert revoked.seconds() < 1.0
    assert made["key"] not in operator.get("/v1/organisation/keys").text


def refuses(client: OpenAI) -> bool:
    """True if the endpoint refuses the client's key."""
    try:
        client.models.list()
    except AuthenticationError:
        return True
    return False


def test_an_admin_sees_who_changed_keys(client_with: NewClient, operator: httpx.Client) -> None:
    admin = client_with(scopes=["admin"])
    made = admin.post("/v1/organisation/keys", json={"name": "ci"}).json()
    rotated = admin.post(f"/v1/organisation/keys/{made['id']}/rotate", json={"overlap_s": 60})
    assert rotated.status_code == 200
    log = admin.get("/v1/organisation/audit_logs", params={"target": made["id"], "limit": 1}).json()
    (event,) = log["data"]
    assert log["has_more"]
    assert (event["type"], event["actor"]["type"]) == ("api_key.rotated", "key")
    assert event["actor"]["ip_address"] == "127.0.0.1"
    assert event["actor"]["request_id"] == rotated.headers["x-request-id"]
    older = admin.get(
        "/v1/organisation/audit_logs", params={"target": made["id"], "after": event["id"]}
    ).json()
    assert [event["type"] for event in older["data"]] == ["api_key.created"]
    assert made["key"].encode() not in admin.get("/v1/organisation/audit_logs").content


def test_an_answer_with_a_key_is_never_stored(operator: httpx.Client, keyed_pool: ConnectionPool) -> None:
    made = operator.post(
        "/v1/organisation/keys", json={"name": "once"}, headers={"idempotency-key": "once"}
    ).json()
    with keyed_pool.connection() as connection:
        stored = connection.execute("SELECT idempotency_keys::text FROM idempotency_keys").fetchall()
    assert made["key"] not in repr(stored)
