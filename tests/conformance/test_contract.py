"""Responses are checked against OpenAI's API description, and against the server's own."""

import json
import subprocess
from pathlib import Path

import httpx

from cluster.documents.vector_stores.stores import VectorStore
from tests.openai_contract import complaints, document
from tests.serve_app.conftest import MODEL, Server
from tests.waiting import LONGEST_COMMAND_S, LONGEST_WAIT_S


def test_responses_and_errors_match_the_description_of_openai(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=LONGEST_WAIT_S) as http:
        embeddings = http.post("/v1/embeddings", json={"model": MODEL, "input": ["a", "b"]}).json()
        models = http.get("/v1/models").json()
        refused = [
            http.post("/v1/embeddings", json={"model": "none", "input": "a"}),
            http.post("/v1/embeddings", json={"model": MODEL, "input": []}),
            http.post("/v1/embeddings", content=b"{"),
            http.get("/v1/models/none"),
        ]
    assert complaints("CreateEmbeddingResponse", embeddings) == []
    assert complaints("ListModelsResponse", models) == []
    assert complaints("Model", models["data"][0]) == []
    for response in refused:
        assert complaints("ErrorResponse", response.json()) == []


def test_a_request_may_have_every_property_that_openai_describes(server: Server) -> None:
    theirs = document()["components"]["schemas"]["CreateEmbeddingRequest"]["properties"].keys()
    with httpx.Client(base_url=server.url, timeout=LONGEST_WAIT_S) as http:
        ours = (
            http.get("/openapi.json").json()["components"]["schemas"]["EmbeddingRequest"]["properties"].keys()
        )
    assert theirs <= ours


#: Objects that name a model of another platform.
WITH_ANY_MODEL = frozenset({"AgentObject", "MessageObject", "ResponseObject", "ChatCompletion"})
#: The models of requests that agents answer.
ANSWERED_BY_AGENTS = {"ChatCompletionRequest": ["agent:a", "agent:a", "none"]}


def things_that_exist(http: httpx.Client) -> dict[str, str]:
    """Create one object of each kind and return its id by the name of its path parameter.

    A request about a random id would be refused at the first check.
    """
    store = http.post("/v1/vector_stores", json={"name": "schemathesis"}).json()["id"]
    file = http.post(
        "/v1/files", files={"file": ("a.txt", b"a text")}, data={"purpose": "assistants"}
    ).json()["id"]
    batch = http.post(f"/v1/vector_stores/{store}/file_batches", json={"file_ids": [file]}).json()["id"]
    upload = {"filename": "b.txt", "purpose": "assistants", "bytes": 6, "mime_type": "text/plain"}
    job = http.get(f"/v1/vector_stores/{store}/files/{file}").json()["job_id"]
    other = http.post(
        "/v1/files", files={"file": ("c.txt", b"another text")}, data={"purpose": "assistants"}
    ).json()["id"]
    cancelled = http.post(f"/v1/vector_stores/{store}/files", json={"file_id": other}).json()["job_id"]
    http.post(f"/v1/jobs/{cancelled}/cancel").raise_for_status()
    line = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": MODEL}}
    requests = http.post(
        "/v1/files", files={"file": ("a.jsonl", json.dumps(line))}, data={"purpose": "batch"}
    ).json()["id"]
    wish = {"input_file_id": requests, "endpoint": "/v1/embeddings", "completion_window": "24h"}
    ids = {
        "vector_store_id": store,
        "file_id": file,
        "batch_id": batch,
        "request_batch_id": http.post("/v1/batches", json=wish).json()["id"],
        "job_id": job,
        "task_id": job,
        "ended_job_id": cancelled,
    }
    return {
        **ids,
        **things_of_an_organisation(http, store, file),
        "upload_id": http.post("/v1/uploads", json=upload).json()["id"],
        "model": MODEL,
        "deployment": MODEL,
    }


def things_of_an_organisation(http: httpx.Client, store: str, file: str) -> dict[str, str]:
    """Create a schedule, an endpoint of webhooks, an organisation, and the things that one event names."""
    about = {"conversation_id": "c", "role": "user", "agent_id": "a"}
    event = {"id": "1", "source": "/tests", "type": "message.created", "time": "2026-01-31T12:00:00Z"}
    events = [{**event, "subject": "customer", "data": about}]
    events.append({**events[0], "id": "2", "data": {**about, "role": "assistant"}})
    assert http.post("/v1/events", json={"events": events}).json()["errors"] == []
    endpoint = {"url": "https://example.com/hook", "event_types": ["job.failed"]}
    arguments = {"file_id": file, "vector_store_id": store}
    schedule = {"kind": "index_file", "input": arguments, "cron": "0 2 * * *"}
    budget = {"unit": "tokens", "period": "day", "warn_at": 10**9}
    segment = {"name": "often", "filters": {"type": "gt", "key": "sessions", "value": 1}}
    return {
        "webhook_endpoint_id": http.post("/v1/webhooks", json=endpoint).json()["id"],
        "usage_report_id": http.post("/v1/usage_reports", json={"period": "current"}).json()["id"],
        "schedule_id": http.post("/v1/schedules", json=schedule).json()["id"],
        "organisation_id": http.post("/v1/organisations", json={"id": "schemathesis"}).json()["id"],
        **{
            f"{kind}_id": http.get(f"/v1/{kind}s").json()["data"][0]["id"]
            for kind in ("customer", "agent", "conversation")
        },
        "message_id": answer_of(http),
        "response_id": response_of(http, store),
        "segment_id": http.post("/v1/segments", json=segment).json()["id"],
        "budget_id": http.post("/v1/budgets", json=budget).json()["id"],
        "crawl_id": http.post("/v1/crawls/discover", json={"url": "https://docs.test/"}).json()["id"],
        "event_id": "none",
        "key_id": "none",
        "page_number": "1",
    }


def answer_of(http: httpx.Client) -> str:
    """The id of the only message of an assistant."""
    conversation = http.get("/v1/conversations").json()["data"][0]["id"]
    messages = http.get(f"/v1/conversations/{conversation}/messages").json()["data"]
    return next(message["id"] for message in messages if message["role"] == "assistant")


def response_of(http: httpx.Client, store: str) -> str:
    """The id of a stored response that quotes the store."""
    tools = [{"type": "file_search", "vector_store_ids": [store]}]
    question = {"model": "extractive", "input": "What stands still?", "tools": tools}
    return str(http.post("/v1/responses", json=question).json()["id"])


def test_no_request_inside_or_outside_our_description_is_a_server_error(
    client_python: Path, server: Server, birds: VectorStore, tmp_path: Path
) -> None:
    """Half of the requests name an object that exists: a model, a store, a file."""
    with httpx.Client(base_url=server.url, timeout=LONGEST_WAIT_S) as http:
        description = http.get("/openapi.json").json()
        there = {**things_that_exist(http), "vector_store": birds.name}
        agent = {"external_id": "a", "knowledge": [{"vector_store_id": birds.id}]}
        http.post("/v1/agents", json=agent).raise_for_status()
    for name, schema in description["components"]["schemas"].items():
        if name in WITH_ANY_MODEL:
            continue
        # A property with values of its own, such as the model's state in /readyz, is not the name of a model.
        if "enum" not in json.dumps(schema.get("properties", {}).get("model", {"enum": []})):
            schema["properties"]["model"] = {"enum": ANSWERED_BY_AGENTS.get(name, [MODEL, MODEL, "none"])}
    for path, operation in [
        (path, one) for path, operations in description["paths"].items() for one in operations.values()
    ]:
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "path":
                # The event stream of a job that no worker runs would not end.
                name = "ended_job_id" if path.endswith("/events") else parameter["name"]
                name = "request_batch_id" if path.startswith("/v1/batches/") else name
                parameter["schema"] = {"enum": [there[name], "none"]}
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(description))
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    command = [
        client_python.parent / "schemathesis",
        "run",
        file,
        "--url",
        server.url,
        "--checks",
        checks,
        "--max-examples",
        "10",
    ]
    options = [
        "--phases",
        "examples,coverage,fuzzing",
        "--request-timeout",
        "30",
        "--generation-deterministic",
        # Every later request would need the key that such a request creates, or would exceed its budget. The
        # streams of all jobs and of the overview do not end.
        "--exclude-path-regex",
        "^/v1/organisation/keys|^/v1/budgets|^/v1/(jobs|overview)/events$",
        "--no-color",
    ]
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=LONGEST_COMMAND_S
    )
    assert done.returncode == 0, done.stdout[-6_000:]
