"""Agents have definitions and knowledge, and many can be created with one request."""

from typing import Any
from uuid import uuid4

import httpx
import jsonschema
import pytest


def test_a_definition_is_shown_and_changed_field_by_field(http: httpx.Client) -> None:
    external = uuid4().hex
    body = {"external_id": external, "role": "Plumber", "temperature": 0.5, "retrieval": {"k": 3}}
    made = http.post("/v1/agents", json=body).json()
    assert (made["defined"], made["role"], made["temperature"], made["retrieval"]["k"]) == (
        True,
        "Plumber",
        0.5,
        3,
    )
    path = f"/v1/agents/{made['id']}"
    changed = http.patch(path, json={"goal": "Stop the leak", "metadata": {"team": "a"}}).json()
    assert changed == {**made, "goal": "Stop the leak", "metadata": {"team": "a"}}
    refused = http.patch(path, json={"instructions": "Be brief."})
    assert refused.status_code == 400
    assert "give only one" in refused.json()["error"]["message"]
    prompt = {"instructions": "Be brief.", "role": None, "goal": None}
    assert http.patch(path, json=prompt).json()["role"] is None
    assert http.get(path).json()["instructions"] == "Be brief."


def test_what_two_agents_know_is_stored_once_and_goes_with_the_second(http: httpx.Client) -> None:
    text = f"The code is {uuid4().hex}."
    first, second = (
        http.post(
            "/v1/agents",
            json={"external_id": uuid4().hex, "knowledge": [{"text": text, "name": "code.txt"}]},
        ).json()
        for _ in range(2)
    )
    assert first["knowledge"] == second["knowledge"]
    ((store,), (file,)) = first["vector_store_ids"], first["knowledge"]
    assert second["vector_store_ids"] == [store]
    content = http.get(f"/v1/files/{file['file_id']}").json()
    assert (content["filename"], content["bytes"]) == ("code.txt", len(text))
    assert http.delete(f"/v1/agents/{first['id']}").json()["deleted"] is True
    assert http.get(f"/v1/agents/{first['id']}").status_code == 404
    assert http.get(f"/v1/vector_stores/{store}/files").json()["data"][0]["id"] == file["file_id"]
    http.patch(f"/v1/agents/{second['id']}", json={"knowledge": None})
    assert http.get(f"/v1/vector_stores/{store}").status_code == 404
    assert http.get(f"/v1/files/{file['file_id']}").status_code == 404
    again = http.post("/v1/agents", json={"external_id": first["external_id"]}).json()
    assert (again["id"], again["knowledge"]) == (first["id"], [])


def test_a_file_of_the_caller_stays_when_its_agent_goes(http: httpx.Client) -> None:
    data = {"file": ("a.txt", uuid4().hex.encode(), "text/plain")}
    file = http.post("/v1/files", files=data, data={"purpose": "assistants"}).json()["id"]
    agent = {"external_id": uuid4().hex, "knowledge": [{"file_id": file}]}
    made = http.post("/v1/agents", json=agent).json()
    http.delete(f"/v1/agents/{made['id']}")
    assert http.get(f"/v1/files/{file}").status_code == 200
    assert http.get(f"/v1/vector_stores/{made['vector_store_ids'][0]}").status_code == 404


@pytest.mark.parametrize(
    ("knowledge", "param"),
    [
        ([{"file_id": "file-0"}], "knowledge[0].file_id"),
        ([{"text": "a"}, {"vector_store_id": "vs_0"}], "knowledge[1].vector_store_id"),
        ([{"text": "a", "file_id": "b"}], "knowledge[0]"),
        ([{"text": "  "}], "knowledge[0].text"),
    ],
)
def test_wrong_knowledge_is_refused_with_its_place(
    http: httpx.Client, knowledge: list[dict[str, Any]], param: str
) -> None:
    refused = http.post("/v1/agents", json={"external_id": uuid4().hex, "knowledge": knowledge})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)


def test_all_errors_of_a_bulk_request_are_listed_and_a_correct_one_becomes_a_job(http: httpx.Client) -> None:
    mark = uuid4().hex
    agents: list[dict[str, Any]] = [{"external_id": f"{mark} {n}"} for n in range(3)]
    wrong = [*agents, {"external_id": mark, "temperature": 9, "knowledge": [{"file": "/etc/passwd"}]}]
    body: dict[str, Any] = {"agents": wrong, "defaults": {"greeting": 1}}
    found = http.post("/v1/agents/bulk", json={**body, "validate_only": True})
    assert found.status_code == 200
    assert [error["path"] for error in found.json()["errors"]] == [
        "defaults.greeting",
        "agents[3].temperature",
        "agents[3].knowledge[0].file",
    ]
    assert http.post("/v1/agents/bulk", json=body).status_code == 400
    del wrong[3]["temperature"]
    refused = http.post("/v1/agents/bulk", json={"agents": wrong})
    assert "only the command create_agents reads paths" in refused.json()["error"]["message"]
    accepted = http.post("/v1/agents/bulk", json={"agents": agents, "defaults": {"greeting": "Hi"}})
    assert accepted.status_code == 202
    job = accepted.json()["job"]
    assert http.get(f"/v1/agents/bulk/{job}").json() == {**accepted.json(), "agents": 3}
    assert http.get(f"/v1/jobs/{job}").json()["kind"] == "create_agents"
    http.post(f"/v1/jobs/{job}/cancel")


def test_an_uploaded_file_of_agents_is_read_by_its_name(http: httpx.Client) -> None:
    rows = b"external_id,temperature\na,x\n"
    uploaded = {"file": ("agents.csv", rows, "text/csv")}
    file = http.post("/v1/files", files=uploaded, data={"purpose": "user_data"}).json()["id"]
    found = http.post("/v1/agents/bulk", json={"file_id": file, "validate_only": True}).json()
    assert [(error["line"], error["path"]) for error in found["errors"]] == [(2, "agents[0].temperature")]


def test_the_schema_accepts_what_the_route_accepts(http: httpx.Client) -> None:
    schema = http.get("/v1/agents/schema").json()
    jsonschema.Draft202012Validator.check_schema(schema)
    agents = [{"external_id": "a", "temperature": 1, "knowledge": [{"file": "a.pdf"}]}]
    jsonschema.validate({"agents": agents, "defaults": {"model": "m"}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"agents": [{"external_id": "a", "temperature": 3}]}, schema)
