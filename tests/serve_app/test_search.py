"""POST /v1/vector_stores/{id}/search on a real store."""

import os
import signal
from dataclasses import replace
from typing import Any

import httpx
import pytest
from openai import OpenAI
from psycopg_pool import ConnectionPool

from cluster.database import embedded
from cluster.ledger.stores import VectorStore, ensure_store
from cluster.settings import Settings
from tests.serve_app.conftest import BIRDS, Server


def search(http: httpx.Client, store: str, **body: Any) -> httpx.Response:
    """One search."""
    return http.post(f"/v1/vector_stores/{store}/search", json={"query": "who may stop the pump", **body})


def ids(response: httpx.Response) -> list[str]:
    """The chunks found."""
    assert response.status_code == 200, response.text
    return [item["chunk_id"] for item in response.json()["data"]]


def test_the_openai_client_finds_the_chunk_its_page_and_its_file(openai_client: OpenAI, birds: VectorStore) -> None:
    page = openai_client.vector_stores.search(birds.id, query="which bird sleeps while it flies?", max_num_results=2)
    first, second = page.data
    assert first.content[0].text == BIRDS["swift"][0]
    assert (first.filename, first.file_id) == ("birds.pdf", "doc_1")
    assert first.attributes == {"page": 2, "filename": "birds.pdf"}
    assert 1 >= first.score >= second.score >= 0


def test_a_store_is_found_by_name_too_and_the_ranker_chooses_the_score(http: httpx.Client, server: Server, birds: VectorStore) -> None:
    assert ids(search(http, "birds")) == ids(search(http, birds.id))
    dense = search(http, "birds", ranking_options={"ranker": "none"}, mode="exact").json()["data"][0]
    query, pump = server.service.engine.embed(["who may stop the pump", BIRDS["pump"][0]]).vectors
    assert dense["chunk_id"] == "pump"
    assert dense["score"] == pytest.approx(float(query @ pump), abs=1e-5)


@pytest.mark.usefixtures("birds")
def test_filters_limits_thresholds_and_several_queries(http: httpx.Client) -> None:
    late = {"type": "and", "filters": [{"type": "gte", "key": "page", "value": 2}, {"type": "ne", "key": "filename", "value": "x"}]}
    assert set(ids(search(http, "birds", filters=late))) == {"pump", "swift"}
    assert ids(search(http, "birds", max_num_results=1)) == ["pump"]
    assert ids(search(http, "birds", ranking_options={"score_threshold": 1.0, "ranker": "none"})) == []
    assert set(ids(search(http, "birds", query=["stop the pump", "sleeping swifts"], max_num_results=2))) == {"pump", "swift"}


@pytest.mark.usefixtures("birds")
@pytest.mark.parametrize(
    ("body", "status", "complaint"),
    [
        ({"query": ""}, 400, "query"),
        ({"query": []}, 400, "query"),
        ({"query": ["a"] * 33}, 400, "query"),
        ({"max_num_results": 51}, 400, "max_num_results"),
        ({"filters": {"type": "like", "key": "a", "value": 1}}, 400, "filters.type"),
        ({"filters": {"type": "eq", "key": "a"}}, 400, "filters.value"),
        ({"ranking_options": {"ranker": "best"}}, 400, "ranker"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(http: httpx.Client, body: dict[str, Any], status: int, complaint: str) -> None:
    response = search(http, "birds", **body)
    assert response.status_code == status
    assert complaint in response.json()["error"]["message"]


def test_stores_of_others_and_of_other_models_are_not_searched(
    http: httpx.Client, pool: ConnectionPool, organisation: str, settings: Settings, server: Server
) -> None:
    fingerprint = server.service.engine.fingerprint
    with pool.connection() as connection:
        theirs = ensure_store(connection, organisation, "secret", fingerprint=fingerprint)
        ensure_store(connection, settings.organisation, "other model", fingerprint=replace(fingerprint, model="other"))
    for name in ("secret", theirs.id, "nowhere"):
        assert search(http, name).status_code == 404
    refused = search(http, "other model")
    assert refused.status_code == 409
    assert "other@" in refused.json()["error"]["message"]


@pytest.mark.usefixtures("birds")
def test_a_postgres_that_was_killed_is_back_for_the_next_search(http: httpx.Client, settings: Settings) -> None:
    os.kill(embedded.status(settings).pid or 0, signal.SIGKILL)
    assert ids(search(http, "birds", max_num_results=1)) == ["pump"]
