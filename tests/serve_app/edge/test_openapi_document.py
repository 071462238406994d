"""The OpenAPI document describes every field of every request and answer, and the answers are as it says."""

import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from psycopg_pool import ConnectionPool

from cluster.agents import AgentDefinition, save_agent
from cluster.documents.vector_stores.stores import VectorStore
from cluster.webhooks.deliveries import record_event
from tests.cluster.outbound.outside import OutsideServer, answering
from tests.serve_app.conftest import MODEL, Server
from tests.serve_app.edge.platform_requests import ask_about_the_platform
from tests.serve_app.edge.profile_requests import ask_about_profiles
from tests.serve_app.json_requests import openapi_document
from tests.serve_app.raw_requests import new_bytes, upload


def schemas() -> dict[str, Any]:
    """The schemas of the document, by name."""
    return openapi_document()["components"]["schemas"]  # type: ignore[no-any-return]


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    """The operations of the document, by method and path."""
    paths = openapi_document()["paths"]
    return {(method.upper(), path): one for path, methods in paths.items() for method, one in methods.items()}


def json_answers() -> dict[tuple[str, str], dict[str, Any]]:
    """The schema of the JSON that each operation answers with, by method and path."""
    return {
        key: response["content"]["application/json"]["schema"]
        for key, operation in operations().items()
        for status, response in operation["responses"].items()
        if status.startswith("2") and "application/json" in response.get("content", {})
    }


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema behind a reference."""
    return schemas()[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema  # type: ignore[no-any-return]


def parts_of(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema and every schema inside it, references followed."""
    schema = resolved(schema)
    yield schema
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", ()), *schema.get("oneOf", ())]
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            inner.append(schema[key])
    for one in inner:
        yield from parts_of(one)


def undescribed(schema: dict[str, Any]) -> list[str]:
    """The fields inside the schema that have no description."""
    return [
        f"{part.get('title')}.{name}"
        for part in parts_of(schema)
        for name, field in part.get("properties", {}).items()
        if "description" not in {**resolved(field), **field}
    ]


def test_every_answer_is_a_model_with_described_fields() -> None:
    """Every JSON answer is a model or a list, and each field in it has a description."""
    for (method, path), schema in json_answers().items():
        answer = resolved(schema)
        while answer.get("type") == "array":
            answer = resolved(answer["items"])
        models = [resolved(one) for one in answer.get("anyOf", [answer])]
        assert answer.get("type") == "number" or all(
            {"properties", "description"} <= one.keys() for one in models
        ), (method, path)
        assert undescribed(answer) == [], (method, path)


def test_every_operation_describes_what_it_takes() -> None:
    """Every operation has a summary and a description, and so has each of its parameters and fields."""
    for (method, path), operation in operations().items():
        assert {"summary", "description"} <= operation.keys(), (method, path)
        parameters = [one for one in operation.get("parameters", ()) if one["in"] != "path"]
        assert [one["name"] for one in parameters if "description" not in one] == [], (method, path)
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert undescribed(content["schema"]) == [], (method, path)


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without room for fields that it does not name."""
    objects = {
        name: {**one, **({"additionalProperties": False} if "properties" in one else {})}
        for name, one in schemas().items()
    }
    return {**schema, "components": {"schemas": objects}}


@pytest.fixture(scope="module")
def answers(
    http: httpx.Client,
    birds: VectorStore,
    operator: httpx.Client,
    server: Server,
    receiver: OutsideServer,
    pool: ConnectionPool,
) -> dict[tuple[str, str], list[Any]]:
    """Real answers of every route, by method and path."""
    found: dict[tuple[str, str], list[Any]] = {}

    def ask(
        method: str,
        path: str,
        names: dict[str, str] | None = None,
        client: httpx.Client = http,
        **options: Any,
    ) -> Any:
        response = client.request(method, path.format(**names or {}), **options)
        assert response.status_code in {200, 202}, response.text
        found.setdefault((method, path), []).append(response.json())
        return response.json()

    _ask_for_vectors(ask)
    _ask_about_files(ask, http)
    _ask_about_stores(ask, http, birds)
    _ask_about_keys(partial(ask, client=operator))
    _ask_about_webhooks(ask, server, receiver, pool)
    ask_about_the_platform(ask)
    _ask_an_agent(ask, server, birds, pool)
    ask_about_profiles(ask, pool, server.service.settings.organisation)
    return found


def _ask_an_agent(ask: Any, server: Server, birds: VectorStore, pool: ConnectionPool) -> None:
    knowledge = [{"vector_store_id": birds.id}]
    definition = AgentDefinition.model_validate({"external_id": "answers", "knowledge": knowledge})
    with pool.connection() as connection:
        agent = save_agent(connection, server.service.settings.organisation, definition, knowledge={})
    question = [{"role": "user", "content": "Who stands still?"}]
    ask("POST", "/v1/chat/completions", json={"model": f"agent:{agent.id}", "messages": question})
    asked = {"model": f"agent:{agent.id}", "input": "Who stands still?"}
    ids = {"response_id": ask("POST", "/v1/responses", json=asked)["id"]}
    ask("GET", "/v1/responses/{response_id}", ids)
    ask("DELETE", "/v1/responses/{response_id}", ids)


def _ask_for_vectors(ask: Any) -> None:
    long = "word " * 600
    for extra in (
        {},
        {"encoding_format": "base64"},
        {"output_dtype": "int8"},
        {"overflow": "truncate"},
        {"overflow": "mean"},
    ):
        text = long if "overflow" in extra else "a heron"
        ask("POST", "/v1/embeddings", json={"model": MODEL, "input": text, **extra})
    ask(
        "POST",
        "/openai/deployments/{deployment}/embeddings",
        {"deployment": MODEL},
        json={"input": "a heron"},
    )
    kinds = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    ask("POST", "/v2/embed", json={"model": MODEL, "texts": ["a heron"], "embedding_types": kinds})
    ask("POST", "/embed", json={"inputs": ["a heron", "a swift"]})
    ask("POST", "/v1/tokenize", json={"model": MODEL, "input": ["a heron"]})
    documents = ["a bird", {"text": "a pump", "colour": "red"}, long]
    ask("POST", "/v1/rerank", json={"query": "a heron", "documents": documents, "return_documents": True})
    ask("POST", "/rerank", json={"query": "a heron", "texts": ["a bird"], "return_text": True})
    ask("GET", "/v1/models")
    ask("GET", "/v1/caller")
    ask("GET", "/v1/overview")
    ask("GET", "/v1/doctor")
    ask("GET", "/v1/models/{model}", {"model": MODEL})
    ask("GET", "/healthz")
    ask("GET", "/readyz")


def _ask_about_files(ask: Any, http: httpx.Client) -> None:
    expiry = {
        "purpose": "assistants",
        "expires_after[anchor]": "created_at",
        "expires_after[seconds]": "3600",
    }
    file = ask("POST", "/v1/files", files={"file": ("a.txt", new_bytes())}, data=expiry)["id"]
    ask("GET", "/v1/files")
    ask("GET", "/v1/files/{file_id}", {"file_id": file})
    ask("DELETE", "/v1/files/{file_id}", {"file_id": file})
    content = new_bytes()
    announced = {
        "filename": "a.txt",
        "purpose": "assistants",
        "bytes": len(content),
        "mime_type": "text/plain",
    }
    names = {"upload_id": ask("POST", "/v1/uploads", json=announced)["id"]}
    part = ask("POST", "/v1/uploads/{upload_id}/parts", names, files={"data": ("a", content)})["id"]
    ask("POST", "/v1/uploads/{upload_id}/complete", names, json={"part_ids": [part]})
    ask(
        "POST",
        "/v1/uploads/{upload_id}/cancel",
        {"upload_id": ask("POST", "/v1/uploads", json=announced)["id"]},
    )
    line = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/embeddings",
        "body": {"model": MODEL, "input": "a"},
    }
    requests = http.post(
        "/v1/files", files={"file": ("a.jsonl", json.dumps(line))}, data={"purpose": "batch"}
    ).json()["id"]
    wish = {"input_file_id": requests, "endpoint": "/v1/embeddings", "completion_window": "24h"}
    batch = {"batch_id": ask("POST", "/v1/batches", json=wish)["id"]}
    ask("GET", "/v1/batches")
    ask("GET", "/v1/batches/{batch_id}", batch)
    ask("POST", "/v1/batches/{batch_id}/cancel", batch)
    task = ask("POST", "/upload", files={"file": ("a.txt", new_bytes())})["task_id"]
    ask("GET", "/tasks/{task_id}", {"task_id": task})


def _ask_about_stores(ask: Any, http: httpx.Client, birds: VectorStore) -> None:
    wish = {
        "name": "documented",
        "expires_after": {"anchor": "last_active_at", "days": 1},
        "chunking_strategy": {
            "type": "static",
            "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 0},
        },
    }
    store = ask("POST", "/v1/vector_stores", json=wish)["id"]
    names = {"vector_store_id": store}
    ask("GET", "/v1/vector_stores", params={"limit": 2})
    ask("GET", "/v1/vector_stores/{vector_store_id}", names)
    ask(
        "POST",
        "/v1/vector_stores/{vector_store_id}",
        names,
        json={"description": "a store", "expires_after": None},
    )
    file = upload(http, new_bytes(), vector_store_id=store).json()["id"]
    ask(
        "POST",
        "/v1/files",
        files={"file": ("b.txt", new_bytes())},
        data={"purpose": "assistants", "vector_store_id": store},
    )
    of_file = {**names, "file_id": file}
    job = ask("POST", "/v1/vector_stores/{vector_store_id}/files", names, json={"file_id": file})["job_id"]
    given = ask("POST", "/v1/vector_stores", json={"embedding_model": "none", "dimensions": 2})["id"]
    ask(
        "POST",
        "/v1/vector_stores/{vector_store_id}/vectors",
        {"vector_store_id": given},
        json={"vectors": [{"id": "a", "vector": [1, 2]}, {"id": "b"}]},
    )
    ask(
        "POST",
        "/v1/vector_stores/{vector_store_id}/vectors/delete",
        {"vector_store_id": given},
        json={"ids": ["a"]},
    )
    ask("POST", "/v1/jobs", json={"kind": "index_file", "input": {**names, "file_id": file}})
    ask("GET", "/v1/vector_stores/{vector_store_id}/files", names)
    ask("GET", "/v1/vector_stores/{vector_store_id}/files/{file_id}", of_file)
    ask(
        "POST",
        "/v1/vector_stores/{vector_store_id}/files/{file_id}",
        of_file,
        json={"attributes": {"n": 1, "x": 0.5, "t": "a", "b": True}},
    )
    ask("GET", "/v1/vector_stores/{vector_store_id}/files/{file_id}/content", of_file)
    ask("GET", "/v1/vector_stores/{vector_store_id}/files/{file_id}/entries", of_file)
    of_birds = {"vector_store_id": birds.id, "file_id": "doc_1", "page_number": "1"}
    ask("GET", "/v1/vector_stores/{vector_store_id}/files/{file_id}/pages/{page_number}", of_birds)
    ask("GET", "/v1/vector_stores/{vector_store_id}/embedding_map", of_birds)
    batch = ask("POST", "/v1/vector_stores/{vector_store_id}/file_batches", names, json={"file_ids": [file]})[
        "id"
    ]
    of_batch = {**names, "batch_id": batch}
    ask("GET", "/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}", of_batch)
    ask("GET", "/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/files", of_batch)
    ask("POST", "/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/cancel", of_batch)
    ask(
        "POST",
        "/v1/vector_stores/{vector_store}/search",
        {"vector_store": birds.id},
        json={"query": "a heron"},
    )
    _ask_about_jobs(ask, job)
    _ask_about_crawls(ask, store)
    _ask_about_schedules(ask, store)
    ask("DELETE", "/v1/vector_stores/{vector_store_id}/files/{file_id}", of_file)
    ask("DELETE", "/v1/vector_stores/{vector_store_id}", names)


def _ask_about_crawls(ask: Any, store: str) -> None:
    site = {"url": "https://docs.test/", "vector_store_id": store, "includePaths": ["^/a"]}
    crawl = {"crawl_id": ask("POST", "/v1/crawls", json=site)["id"]}
    ask("POST", "/v1/crawls/discover", json={"url": "https://docs.test/"})
    ask("GET", "/v1/crawls", params={"vector_store_id": store})
    ask("GET", "/v1/crawls/{crawl_id}", crawl)
    ask("GET", "/v1/crawls/{crawl_id}/pages", crawl)
    ask("POST", "/v1/crawls/{crawl_id}/cancel", crawl)
    ask("POST", "/v1/crawls/{crawl_id}/retry", crawl)
    task = ask("POST", "/api/v1/crawler/enqueue", json={"url": "https://docs.test/"})["task_id"]
    ask("GET", "/api/v1/crawler/{task_id}", {"task_id": task})


def _ask_about_keys(ask: Any) -> None:
    wish = {"name": "documented", "scopes": ["read"], "models": [MODEL], "expires_at": time.time() + 3_600}
    key = {"key_id": ask("POST", "/v1/organisation/keys", json=wish)["id"]}
    ask("GET", "/v1/organisation/keys", params={"limit": 2})
    ask("GET", "/v1/organisation/keys/{key_id}", key)
    ask("POST", "/v1/organisation/keys/{key_id}", key, json={"tokens_per_minute": 100_000})
    ask("POST", "/v1/organisation/keys/{key_id}/rotate", key, json={"overlap_s": 60})
    ask("DELETE", "/v1/organisation/keys/{key_id}", key)
    ask("GET", "/v1/organisation/audit_logs", params={"target": key["key_id"]})
    wish = {"unit": "usd", "period": "month", "warn_at": "12.50", "name": "documented"}
    budget = {"budget_id": ask("POST", "/v1/budgets", json=wish)["id"]}
    ask("GET", "/v1/budgets", params={"limit": 2})
    ask("GET", "/v1/budgets/{budget_id}", budget)
    ask("PATCH", "/v1/budgets/{budget_id}", budget, json={"warn_at": None, "stop_at": 10})
    ask("DELETE", "/v1/budgets/{budget_id}", budget)
    lately = {"start_time": int(time.time()) - 60}
    ask("GET", "/v1/usage", params={**lately, "group_by[]": ["model", "source", "api_key_id", "agent_id"]})
    ask("GET", "/v1/organization/usage/embeddings", params={**lately, "group_by[]": ["model"]})
    ask("GET", "/v1/organization/costs", params={**lately, "group_by[]": ["line_item"]})
    wish = {"id": "documented", "time_zone": "Asia/Kolkata", "billing_day": 28, "weight": 2, "files_limit": 9}
    names = {"organisation_id": ask("POST", "/v1/organisations", json=wish)["id"]}
    ask("GET", "/v1/organisations", params={"limit": 2})
    ask("GET", "/v1/organisations/{organisation_id}", names)
    ask("POST", "/v1/organisations/{organisation_id}", names, json={"weight": None, "name": "Documented"})
    ask("DELETE", "/v1/organisations/{organisation_id}", names)


def _ask_about_schedules(ask: Any, store: str) -> None:
    window = {"from": "22:00", "to": "06:00"}
    wish = {
        "kind": "ingest_files",
        "input": {"vector_store_id": store},
        "cron": "0 2 * * *",
        "window": window,
    }
    schedule = {"schedule_id": ask("POST", "/v1/schedules", json=wish)["id"]}
    ask("POST", "/v1/schedules/{schedule_id}/run", schedule)
    ask("PATCH", "/v1/schedules/{schedule_id}", schedule, json={"paused": True, "window": None})
    ask("GET", "/v1/schedules/{schedule_id}", schedule)
    ask("GET", "/v1/schedules/{schedule_id}/runs", schedule)
    ask("GET", "/v1/schedules")
    ask("DELETE", "/v1/schedules/{schedule_id}", schedule)


def _ask_about_jobs(ask: Any, job: str) -> None:
    ask("GET", "/v1/jobs", params={"limit": 3})
    ask("GET", "/v1/jobs/{job_id}", {"job_id": job})
    ask("POST", "/v1/jobs/{job_id}/cancel", {"job_id": job})
    ask("POST", "/v1/jobs/{job_id}/retry", {"job_id": job})
    ask("POST", "/v1/jobs/retry", json={"kind": "none"})
    ask("GET", "/v1/jobs/kinds")


def _ask_about_webhooks(ask: Any, server: Server, receiver: OutsideServer, pool: ConnectionPool) -> None:
    receiver.answers["/documented"] = answering(200)
    wish = {"url": receiver.url("/documented"), "event_types": ["job.failed"]}
    for path, change in (("/v1/webhooks", "PATCH"), ("/v1/webhook_endpoints", "POST")):
        endpoint = {"webhook_endpoint_id": ask("POST", path, json=wish)["id"]}
        one = f"{path}/{{webhook_endpoint_id}}"
        ask("GET", path)
        ask("GET", one, endpoint)
        ask(change, one, endpoint, json={"name": "documented"})
        ask("POST", f"{one}/rotate_secret", endpoint)
        ask("POST", f"{one}/test", endpoint)
        if path == "/v1/webhooks":
            with pool.connection() as connection:
                event = record_event(
                    connection, server.service.settings.organisation, "job.failed", {"id": "job_1"}
                )
            of_event = {**endpoint, "event_id": str(event)}
            ask("POST", f"{one}/deliveries/{{event_id}}/redeliver", of_event)
            ask("GET", f"{one}/deliveries", endpoint)
        ask("DELETE", one, endpoint)
    ask("GET", "/v1/webhook_event_types")


def test_every_answer_is_as_the_document_says(answers: dict[tuple[str, str], list[Any]]) -> None:
    """Each route is asked, and its answers have the documented fields and no other."""
    assert answers.keys() == json_answers().keys()
    for operation, schema in json_answers().items():
        validator = Draft202012Validator(closed(schema))
        for answer in answers[operation]:
            assert [error.message for error in validator.iter_errors(answer)] == [], operation
