"""POST /v1/rerank orders documents with the embedding model, or with a cross-encoder."""

from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.serve_app.conftest import MODEL

QUERY = "Which bird sleeps in the air?"
DOCUMENTS = ["The pump is off.", "Swifts sleep on the wing.", "Herons stand still."]


def test_without_a_cross_encoder_the_vectors_give_the_scores(http: httpx.Client) -> None:
    request = {
        "query": QUERY,
        "documents": [*DOCUMENTS[:2], {"text": DOCUMENTS[2], "id": 7}],
        "top_n": 2,
        "return_documents": True,
    }
    answer = http.post("/v1/rerank", json=request).json()
    assert (answer["method"], answer["model"]) == ("bi-encoder", MODEL)
    assert [result["index"] for result in answer["results"]] == [1, 2]
    assert [result["document"] for result in answer["results"]] == [
        {"text": DOCUMENTS[1]},
        {"text": DOCUMENTS[2], "id": 7},
    ]
    query, *documents = (
        item["embedding"]
        for item in http.post("/v1/embeddings", json={"model": MODEL, "input": [QUERY, *DOCUMENTS]}).json()[
            "data"
        ]
    )
    assert answer["results"][0]["relevance_score"] == pytest.approx(np.dot(query, documents[1]), abs=1e-6)


def test_a_cross_encoder_gives_the_scores_of_sentence_transformers(
    reranking: httpx.Client, cross_encoder: Path
) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    documents = [*DOCUMENTS, "long " * 100]
    answer = reranking.post("/v1/rerank", json={"query": QUERY, "documents": documents}).json()
    assert (answer["method"], answer["model"]) == ("cross-encoder", "tiny-reranker")
    oracle = CrossEncoder(str(cross_encoder)).predict(
        [(QUERY, document) for document in documents], activation_fn=torch.nn.Sigmoid()
    )
    scores = {result["index"]: result["relevance_score"] for result in answer["results"]}
    assert np.allclose([scores[index] for index in range(4)], oracle, atol=1e-6)
    assert sorted(scores.values(), reverse=True) == list(scores.values())
    assert [result["index"] for result in answer["results"] if result.get("truncated")] == [3]


@pytest.mark.parametrize(
    "change",
    [
        {"documents": []},
        {"documents": ["a"] * 1_001},
        {"query": ""},
        {"top_n": 0},
        {"documents": ["x" * 1_300_000]},
    ],
)
def test_a_malformed_request_is_refused(http: httpx.Client, change: dict[str, object]) -> None:
    response = http.post("/v1/rerank", json={"query": QUERY, "documents": DOCUMENTS, **change})
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")
