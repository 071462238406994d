"""Requests to the routes of the platform's data and of MCP, to compare the answers with the document."""

from typing import Any
from uuid import uuid4


def ask_about_the_platform(ask: Any) -> None:
    """Send a correct and a wrong event, read what the event made, erase the customer, request a report,
    list the tools of MCP, and call a tool that does not exist.
    """
    external = uuid4().hex
    data = {"conversation_id": external, "agent_id": external, "role": "user", "text": "Hello"}
    event = {"id": external, "source": "/documented", "type": "message.created", "subject": external}
    event |= {"time": "2026-03-01T10:00:00Z", "data": data}
    answer = {**event, "id": f"{external}-2", "data": {**data, "role": "assistant"}}
    ask("POST", "/v1/events", json=[event, answer, {}])
    ask("GET", "/v1/event_types")
    ids = {}
    for name in ("agent", "conversation", "customer"):
        found = ask("GET", f"/v1/{name}s", params={"external_id": external})
        ids[f"{name}_id"] = found["data"][0]["id"]
        ask("GET", f"/v1/{name}s/{{{name}_id}}", ids)
    messages = ask("GET", "/v1/conversations/{conversation_id}/messages", ids)["data"]
    ids["message_id"] = next(one["id"] for one in messages if one["role"] == "assistant")
    ask("POST", "/v1/messages/{message_id}/feedback", ids, json={"rating": "positive", "comment": "Yes"})
    ask("GET", "/v1/feedback")
    ask("DELETE", "/v1/messages/{message_id}/feedback", ids)
    ask("POST", "/v1/agents", json={"external_id": external, "model": "m"})
    ask("PATCH", "/v1/agents/{agent_id}", ids, json={"model": None, "knowledge": [{"text": external}]})
    ask_about_agents(ask, external)
    ask("POST", "/v1/customers", json={"external_id": external, "name": "Grace"})
    ask("PATCH", "/v1/customers/{customer_id}", ids, json={"properties": {"plan": "paid"}})
    ask("GET", "/v1/agents/{agent_id}/stats", ids, params={"bucket_width": "1h"})
    ask("GET", "/v1/stats")
    ask("GET", "/v1/stats/definitions")
    ask("DELETE", "/v1/customers/{customer_id}", ids)
    ask("DELETE", "/v1/agents/{agent_id}", ids)
    ids["usage_report_id"] = ask("POST", "/v1/usage_reports", json={"period": "current"})["id"]
    ask("GET", "/v1/usage_reports", params={"state": "draft"})
    ask("GET", "/v1/usage_reports/{usage_report_id}", ids)
    ask("POST", "/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    ask("POST", "/mcp", json={"jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": {"name": "no"}})


def ask_about_agents(ask: Any, external: str) -> None:
    """Create an agent in bulk, and show the import."""
    ask("POST", "/v1/agents/bulk", json={"agents": [{"external_id": 1}], "validate_only": True})
    made = ask("POST", "/v1/agents/bulk", json={"agents": [{"external_id": f"{external} b"}]})
    ask("GET", "/v1/agents/bulk/{job_id}", {"job_id": made["job"]})
