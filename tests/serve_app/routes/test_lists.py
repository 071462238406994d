"""All lists have the same paging, and refuse an unknown cursor with the same sentence."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

LISTS = [
    "/v1/files",
    "/v1/vector_stores",
    "/v1/jobs",
    "/v1/vector_stores/{store}/files",
    "/v1/vector_stores/{store}/file_batches/{batch}/files",
]


@pytest.fixture(scope="module")
def things(http: httpx.Client) -> dict[str, Any]:
    """Two stores; the second has a batch of two files."""
    http.post("/v1/vector_stores", json={"name": "first"}).raise_for_status()
    sent = [{"file": (f"{n}.txt", f"text {uuid4()}".encode())} for n in range(2)]
    files = [http.post("/v1/files", files=one, data={"purpose": "assistants"}).json()["id"] for one in sent]
    store = http.post("/v1/vector_stores", json={"name": "listed"}).json()["id"]
    batch = http.post(f"/v1/vector_stores/{store}/file_batches", json={"file_ids": files}).json()["id"]
    return {"store": store, "batch": batch}


@pytest.mark.parametrize("path", LISTS)
def test_every_list_has_the_same_paging(http: httpx.Client, things: dict[str, Any], path: str) -> None:
    path = path.format(**things)
    first = http.get(f"{path}?limit=1").json()
    for empty in ("after=", "limit=1&after=", "limit=1&order=&after="):
        assert http.get(f"{path}?{empty}").json()["first_id"] == first["first_id"]
    second = http.get(f"{path}?limit=1&after={first['last_id']}").json()
    assert second["first_id"] not in {"", first["last_id"]}
    for unknown in ("none", "file-", "%20", "file-xyz"):
        error = http.get(f"{path}?after={unknown}").json()["error"]
        assert (error["param"], "which is not in this list; send the id" in error["message"]) == (
            "after",
            True,
        )
    for wrong in ("limit=0", "limit=-1", "limit=1000000", "limit=a", "order=up"):
        response = http.get(f"{path}?{wrong}")
        assert (response.status_code, response.json()["error"]["param"]) == (400, wrong.partition("=")[0])
