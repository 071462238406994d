"""Searches test the attributes of a file in a vector store with their filters."""

from typing import Any

import httpx
import pytest

from cluster.documents.vector_stores.stores import VectorStore


def test_changed_attributes_apply_to_searches_at_once(
    http: httpx.Client, store: VectorStore, file: str, done: Any
) -> None:
    path = f"/v1/vector_stores/{store.id}/files"
    http.post(path, json={"file_id": file, "attributes": {"page": "front", "year": 2020}})
    done(store, file)

    def found(key: str, value: Any) -> list[Any]:
        filters = {"type": "eq", "key": key, "value": value}
        answer = http.post(
            f"/v1/vector_stores/{store.id}/search", json={"query": "swifts", "filters": filters}
        ).json()
        return [(item["page"], item["attributes"]) for item in answer["data"]]

    assert sorted(found("page", "front"), key=str) == [
        (page, {"page": "front", "year": 2020}) for page in (1, 2, 3)
    ]
    changed = http.post(f"{path}/{file}", json={"attributes": {"year": 2021.5}}).json()
    assert (changed["attributes"], changed["status"]) == ({"year": 2021.5}, "completed")
    assert found("page", "front") == found("year", 2020) == []
    assert found("page", 2) == [(2, {"year": 2021.5})]
    assert http.post(f"{path}/{file}", json={"attributes": None}).json()["attributes"] == {}


@pytest.mark.parametrize(
    ("attributes", "complaint"),
    [
        ({str(n): 1 for n in range(17)}, "attributes"),
        ({"k" * 65: 1}, "attributes"),
        ({"k": "v" * 513}, "at most 512"),
        ({"k": None}, "attributes.k"),
        ({"k": [1]}, "attributes.k"),
        ({"k": {"a": 1}}, "attributes.k"),
        ({"k": 10**301}, "at most 1e+300"),
        ({"k": "\0"}, "attributes.k"),
    ],
)
def test_attributes_that_no_filter_could_find_are_refused(
    http: httpx.Client, store: VectorStore, file: str, attributes: dict[str, Any], complaint: str
) -> None:
    path = f"/v1/vector_stores/{store.id}/files"
    http.post(path, json={"file_id": file})
    for refused in (
        http.post(path, json={"file_id": file, "attributes": attributes}),
        http.post(f"{path}/{file}", json={"attributes": attributes}),
        http.post(
            f"/v1/vector_stores/{store.id}/file_batches", json={"file_ids": [file], "attributes": attributes}
        ),
    ):
        assert refused.status_code == 400
        assert complaint in refused.json()["error"]["message"]
