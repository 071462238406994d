"""GET /v1/vector_stores/{id}/embedding_map shows the chunks of a store as points in a plane."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from psycopg import Connection

from cluster.documents.embedding_map import Projection, project, vector_sample
from cluster.documents.vector_stores.stores import VectorStore, get_store
from cluster.settings import Settings
from serve_app.routes.stores import embedding_map
from tests.serve_app.conftest import BIRDS

NEAR = ["Herons stand still.", "Herons stand still for hours.", "The pump has stopped."]


def test_each_chunk_is_a_point_and_like_chunks_are_near(
    http: httpx.Client, store: VectorStore, file: str, done: Any
) -> None:
    path = f"/v1/vector_stores/{store.id}"
    assert http.get(f"{path}/embedding_map").json()["data"] == []
    http.post(f"{path}/files", json={"file_id": file})
    done(store, file, NEAR)
    answer = http.get(f"{path}/embedding_map").json()
    points = {point["text"]: complex(point["x"], point["y"]) for point in answer["data"]}
    one, two, other = (points[text] for text in NEAR)
    assert abs(one - two) < abs(one - other) / 2
    assert sum(answer["explained_variance"]) == pytest.approx(1, abs=1e-3)  # three points are in one plane
    assert {(point["file_id"], point["filename"]) for point in answer["data"]} == {(file, "0.txt")}
    assert sorted(point["page"] for point in answer["data"]) == [1, 2, 3]
    assert http.get(f"{path}/embedding_map").json() == answer


def test_a_sample_is_limited_by_number_and_by_the_bytes_of_its_vectors(
    http: httpx.Client, birds: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/v1/vector_stores/{birds.id}/embedding_map"
    assert len(http.get(path).json()["data"]) == len(BIRDS)
    assert len(http.get(path, params={"limit": 2}).json()["data"]) == 2
    refused = http.get(path, params={"limit": vector_sample.MAX_POINTS + 1})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "limit")
    monkeypatch.setattr(vector_sample, "MAX_VECTOR_BYTES", 4 * 384)
    assert len(http.get(path).json()["data"]) == 1


@pytest.mark.parametrize("index", ["pgvector", "folder"])
def test_a_map_of_given_vectors_is_spread_over_their_ids(http: httpx.Client, index: str) -> None:
    body = {"embedding_model": "none", "dimensions": 2, "index": index}
    path = f"/v1/vector_stores/{http.post('/v1/vector_stores', json=body).json()['id']}"
    rows = [{"id": f"a{n:03}", "vector": [1, n / 100], "text": f"row {n}"} for n in range(100)]
    assert http.post(f"{path}/vectors", json={"vectors": rows}).json()["written"] == 100
    points = http.get(f"{path}/embedding_map", params={"limit": 20}).json()["data"]
    numbers = sorted(int(point["chunk_id"][1:]) for point in points)
    assert len(numbers) == 20
    assert numbers[0] < 30
    assert numbers[-1] > 70
    assert {point["page"] for point in points} == {None}


def test_a_store_without_its_index_has_no_map(
    http: httpx.Client, store: VectorStore, connection: Connection[Any], settings: Settings
) -> None:
    connection.execute("UPDATE vector_stores SET index = 'gone' WHERE id = %s", [store.id])
    assert get_store(connection, settings.organisation, store.id).index == "gone"
    assert http.get(f"/v1/vector_stores/{store.id}/embedding_map").status_code == 409


def test_one_map_at_a_time_is_computed(
    http: httpx.Client, birds: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[str] = []

    def slow(vectors: NDArray[np.float32]) -> Projection:
        turns.append("begin")
        time.sleep(0.05)
        turns.append("end")
        return project(vectors)

    monkeypatch.setattr(embedding_map, "project", slow)
    with ThreadPoolExecutor(4) as threads:
        path = f"/v1/vector_stores/{birds.id}/embedding_map"
        assert {answer.status_code for answer in threads.map(http.get, [path] * 4)} == {200}
    assert turns == ["begin", "end"] * 4
