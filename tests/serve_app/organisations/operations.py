"""Every operation of the OpenAPI document, and a valid request for each, so that no new route is forgotten.

``request_for`` fills an operation with ids. A test fails if an operation with a body, or a parameter, has no
entry here.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from typing import Any

import httpx

from tests.serve_app.conftest import MODEL
from tests.serve_app.json_requests import openapi_document

#: The body of each operation that takes JSON, with ids in braces.
BODIES: dict[str, Any] = {
    "/v1/embeddings": {"model": "{model}", "input": "a heron"},
    "/openai/deployments/{deployment}/embeddings": {"input": "a heron"},
    "/v1/chat/completions": {
        "model": "agent:{agent_id}",
        "messages": [{"role": "user", "content": "a heron"}],
    },
    "/v1/responses": {
        "model": "extractive",
        "input": "{query}",
        "previous_response_id": "{response_id}",
        "tools": [{"type": "file_search", "vector_store_ids": ["{vector_store_id}"]}],
    },
    "/v1/tokenize": {"model": "{model}", "input": "a heron"},
    "/v1/rerank": {"model": "{model}", "query": "a heron", "documents": ["a bird"]},
    "/rerank": {"query": "a heron", "texts": ["a bird"]},
    "/embed": {"inputs": ["a heron"]},
    "/v2/embed": {"model": "{model}", "texts": ["a heron"], "input_type": "search_query"},
    "/v1/uploads": {"filename": "a.txt", "purpose": "assistants", "bytes": 9, "mime_type": "text/plain"},
    "/v1/uploads/{upload_id}/complete": {"part_ids": ["{part}"]},
    "/v1/batches": {
        "input_file_id": "{requests}",
        "endpoint": "/v1/embeddings",
        "completion_window": "24h",
    },
    "/v1/vector_stores/{vector_store}/search": {
        "query": "{query}",
        "vector_stores": ["{vector_store_id}"],
    },
    "/v1/vector_stores": {"embedding_model": "{model}", "file_ids": ["{file_id}"]},
    "/v1/vector_stores/{vector_store_id}": {"name": "taken"},
    "/v1/vector_stores/{vector_store_id}/files": {"file_id": "{file_id}"},
    "/v1/vector_stores/{vector_store_id}/files/{file_id}": {"attributes": {"a": 1}},
    "/v1/vector_stores/{vector_store_id}/vectors": {"vectors": [{"id": "a", "vector": [1.0, 2.0]}]},
    "/v1/vector_stores/{vector_store_id}/vectors/delete": {"ids": ["{vector}"]},
    "/v1/vector_stores/{vector_store_id}/file_batches": {"file_ids": ["{file_id}"]},
    "/v1/crawls": {"url": "https://docs.test/", "vector_store_id": "{vector_store_id}"},
    "/v1/crawls/discover": {"url": "https://docs.test/"},
    "/api/v1/crawler/enqueue": {"url": "https://docs.test/", "vector_store": "{vector_store_id}"},
    "/v1/jobs": {
        "kind": "index_file",
        "input": {"file_id": "{file_id}", "vector_store_id": "{vector_store_id}"},
    },
    "/v1/schedules": {
        "kind": "index_file",
        "input": {"file_id": "{file_id}", "vector_store_id": "{vector_store_id}"},
        "cron": "0 2 * * *",
    },
    "/v1/schedules/{schedule_id}": {"name": "taken"},
    "/v1/events": {
        "events": [
            {"id": "taken", "source": "/victim", "type": "message.created", "time": "2026-01-31T12:00:00Z"}
            | {"subject": "taken", "data": {"conversation_id": "taken", "role": "user"}}
        ]
    },
    "/v1/agents": {"external_id": "taken"},
    "/v1/agents/{agent_id}": {"name": "taken", "knowledge": [{"file_id": "{file_id}"}]},
    "/v1/agents/bulk": {
        "agents": [{"external_id": "taken", "knowledge": [{"vector_store_id": "{vector_store_id}"}]}]
    },
    "/v1/customers": {"external_id": "taken"},
    "/v1/customers/{customer_id}": {"name": "taken"},
    "/v1/messages/{message_id}/feedback": {"rating": "positive"},
    "/v1/segments": {"name": "taken", "filters": {"type": "gt", "key": "sessions", "value": 1}},
    "/v1/usage_reports": {"period": "current"},
    "/v1/jobs/retry": {"subject": "{file_id}"},
    "/v1/organisation/keys": {"name": "theirs", "stores": ["{vector_store_id}"]},
    "/v1/organisation/keys/{key_id}": {"files_limit": 1},
    "/v1/organisation/keys/{key_id}/rotate": {},
    "/v1/budgets": {"unit": "tokens", "period": "day", "stop_at": 1_000, "key": "{key_id}"},
    "/v1/budgets/{budget_id}": {"name": "taken"},
    "/v1/organisations": {"id": "{organisation_id}"},
    "/v1/webhooks": {"url": "https://example.com/hook", "event_types": ["job.failed"]},
    "/v1/webhook_endpoints": {"url": "https://example.com/hook", "event_types": ["job.failed"]},
    **{
        f"/v1/{name}/{{webhook_endpoint_id}}{action}": body
        for name in ("webhooks", "webhook_endpoints")
        for action, body in (("", {"name": "taken"}), ("/rotate_secret", {}), ("/test", {}))
    },
    "/v1/organisations/{organisation_id}": {"name": "taken"},
}
#: The arguments of each tool of ``/mcp``.
TOOLS: dict[str, Any] = {
    "search": {"query": "{query}", "vector_stores": ["{vector_store_id}"]},
    "fetch": {"id": "{vector_store_id}/{vector}"},
    "list_vector_stores": {"after": "{vector_store_id}"},
}
#: The fields of each operation that takes a form, beside the file.
FORMS: dict[str, dict[str, str]] = {
    "/v1/files": {"purpose": "assistants", "vector_store_id": "{vector_store_id}"},
    "/v1/uploads/{upload_id}/parts": {},
    "/upload": {"vector_store": "{vector_store_id}"},
}
#: The name of the file's field in each form.
FILE_FIELDS = {"/v1/uploads/{upload_id}/parts": "data"}
#: Parameters that name nothing of an organisation.
PLAIN_PARAMETERS = frozenset(
    {
        "api-version",
        "limit",
        "order",
        "purpose",
        "page",
        "start",
        "end",
        "filter",
        "format",
        "kind",
        "state",
        "priority_class",
        "priority",
        "error_code",
        "created_after",
        "created_before",
        "type",
        "last-event-id",
        "start_time",
        "end_time",
        "bucket_width",
        *(
            f"{name}{brackets}"
            for name in ("group_by", "kinds", "models", "sources", "line_items", "project_ids", "user_ids")
            for brackets in ("", "[]")
        ),
        "if-none-match",
        "outcome",
        "rating",
        "scope",
        "duration_s",
        "fresh",
    }
)
#: The query that each operation needs.
QUERIES = {
    path: {"start_time": str(int(time.time()) - 3_600), "group_by": "api_key_id"}
    for path in ("/v1/usage", "/v1/organization/usage/embeddings", "/v1/organization/costs")
} | {path: {"duration_s": "0"} for path in ("/v1/overview/events", "/v1/jobs/events")}
#: The kind of id that each operation's ``after`` and ``before`` take.
CURSORS = {
    "/v1/files": "file_id",
    "/v1/batches": "batch",
    "/v1/vector_stores": "vector_store_id",
    "/v1/vector_stores/{vector_store_id}/files": "file_id",
    "/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/files": "file_id",
    "/v1/jobs": "job_id",
    "/v1/crawls": "crawl_id",
    "/v1/crawls/{crawl_id}/pages": "crawl_page",
    "/v1/schedules": "schedule_id",
    "/v1/usage_reports": "usage_report_id",
    "/v1/schedules/{schedule_id}/runs": "run",
    "/v1/agents": "agent_id",
    "/v1/customers": "customer_id",
    "/v1/conversations": "conversation_id",
    "/v1/conversations/{conversation_id}/messages": "message",
    "/v1/feedback": "message_id",
    "/v1/segments": "segment_id",
    "/v1/segments/{segment_id}/customers": "customer_id",
    "/v1/organisation/keys": "key_id",
    "/v1/organisation/audit_logs": "audit",
    "/v1/budgets": "budget_id",
    "/v1/organisations": "organisation_id",
    "/v1/webhooks": "webhook_endpoint_id",
    "/v1/webhook_endpoints": "webhook_endpoint_id",
    "/v1/webhooks/{webhook_endpoint_id}/deliveries": "event_id",
}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    #: The scope that the document names.
    scope: str
    parameters: tuple[str, ...]
    #: ``json``, ``form`` or empty.
    body: str
    #: Name of the tool of ``/mcp``; empty for every other path.
    tool: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.tool}".strip()


@cache
def operations() -> tuple[Operation, ...]:
    """Every operation that needs a caller, with one for each tool in place of that of ``/mcp``."""
    found = []
    for path, methods in openapi_document()["paths"].items():
        for method, described in methods.items():
            if "x-required-scope" not in described:
                assert path in {"/healthz", "/readyz"}, f"{method} {path} checks no scope"
                continue
            content = described.get("requestBody", {}).get("content", {})
            found.append(
                Operation(
                    method=method.upper(),
                    path=path,
                    scope=described["x-required-scope"],
                    parameters=tuple(
                        one["name"] for one in described.get("parameters", ()) if one["in"] != "path"
                    ),
                    body="json" if "application/json" in content else "form" if content else "",
                )
            )
    several = [[replace(one, tool=tool) for tool in TOOLS] if one.path == "/mcp" else [one] for one in found]
    return tuple(chain.from_iterable(several))


def filled(value: Any, ids: Mapping[str, str]) -> Any:
    """The value with each id in place of its name."""
    if isinstance(value, dict):
        return {name: filled(one, ids) for name, one in value.items()}
    if isinstance(value, list):
        return [filled(one, ids) for one in value]
    return value.format_map(ids) if isinstance(value, str) else value


def path_of(operation: Operation, ids: Mapping[str, str]) -> str:
    """The path of the operation with these ids."""
    known = {"deployment": ids["model"], "vector_store": ids["vector_store_id"], "task_id": ids["job_id"]}
    batch = "file_batch" if "file_batches" in operation.path else "batch"
    return operation.path.format_map({**known, "batch_id": ids[batch], **ids})


def tool_call(tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The message that calls a tool."""
    return {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments},
    }


def refused(answer: httpx.Response) -> bool:
    """True if the answer is an error, also the error of a tool."""
    return answer.status_code >= 400 or '"isError":true' in answer.text


def ask(
    client: httpx.Client, operation: Operation, ids: Mapping[str, str], **parameters: str
) -> httpx.Response:
    """Send the operation about the things with these ids."""
    options: dict[str, Any] = {}
    if operation.tool:
        options["json"] = tool_call(operation.tool, filled(TOOLS[operation.tool], ids))
    elif operation.body == "json":
        options["json"] = filled(BODIES[operation.path], ids)
    elif operation.body == "form":
        name = FILE_FIELDS.get(operation.path, "file")
        options = {
            "files": {name: ("a.txt", b"some text")},
            "data": filled(FORMS[operation.path], ids),
        }
    return client.request(
        operation.method,
        path_of(operation, ids),
        params=QUERIES.get(operation.path, {}) | parameters,
        **options,
    )


def names_in(operation: Operation) -> str:
    """The path and the body of the operation as text, to see what it names."""
    body = {"json": BODIES, "form": FORMS}.get(operation.body, {}).get(operation.path, {})
    return operation.path + json.dumps(body)


#: Operations without a name of a model in the request, which use the default model.
DEFAULT_MODEL = frozenset({"/embed", "/rerank"})


def names_a_model(operation: Operation) -> bool:
    """True if the operation computes with a model that the request or the server chooses."""
    names = names_in(operation)
    return "{model}" in names or "{deployment}" in names or operation.path in DEFAULT_MODEL


def names_a_store(operation: Operation) -> bool:
    """True if the operation names a vector store."""
    return "{vector_store" in names_in(operation)


#: Ids of nothing, for requests that need none.
NOTHING = dict.fromkeys(
    (
        "vector_store_id",
        "file_id",
        "upload_id",
        "part",
        "requests",
        "query",
        "vector",
        "batch",
        "file_batch",
        "job_id",
        "key_id",
        "usage_report_id",
        "audit",
        "organisation_id",
        "webhook_endpoint_id",
        "event_id",
        "budget_id",
        "crawl_id",
        "crawl_page",
        "schedule_id",
        "run",
        "customer_id",
        "conversation_id",
        "agent_id",
        "message",
        "message_id",
        "response_id",
        "segment_id",
    ),
    "none",
) | {"model": MODEL, "page_number": "1"}
