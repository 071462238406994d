"""Fields of vLLM, Jina, Voyage, Cohere and TEI have their usual effect, or are refused by name."""

import base64
import json
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from numpy.typing import NDArray
from openai import AzureOpenAI
from pydantic import SecretStr

from cluster.settings import Settings
from tests.serve_app.conftest import MODEL, PROMPTED, PROMPTS, Server, serving
from tests.waiting import LONGEST_WAIT_S

LONG = " ".join(f"word{n}" for n in range(300))
QUERY, TEXTS = "Which bird sleeps in the air?", ["The pump is off.", "Swifts sleep on the wing.", LONG]

#: Each word is one token.
WORDS = ["The pump is off.", "Birds sleep on the wing."]


def vector(http: httpx.Client, **fields: Any) -> NDArray[np.float32]:
    """The vector of one input, (dim,) float32."""
    response = http.post("/v1/embeddings", json={"model": PROMPTED, "input": LONG, **fields})
    assert response.status_code == 200, response.text
    return np.array(response.json()["data"][0]["embedding"], np.float32)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"truncate_prompt_tokens": -1}, {"overflow": "truncate"}),
        ({"truncate": True}, {"overflow": "truncate"}),
        ({"truncate": "END"}, {"overflow": "truncate"}),
        ({"truncation": True}, {"overflow": "truncate"}),
        ({"input": "a", "output_dimension": 64}, {"input": "a", "dimensions": 64}),
        ({"input": "a", "embed_dtype": "float16"}, {"input": "a", "output_dtype": "float16"}),
        ({"input": "a", "embedding_type": "ubinary"}, {"input": "a", "output_dtype": "ubinary"}),
        ({"input": "a", "embedding_types": ["int8"]}, {"input": "a", "output_dtype": "int8"}),
        ({"input": "a", "task": "retrieval.query"}, {"input": "a", "input_type": "query"}),
        ({"input": "a", "task": "separation"}, {"input": "a", "input_type": "clustering"}),
        (
            {
                "input": "a",
                "normalized": True,
                "late_chunking": False,
                "add_special_tokens": True,
                "endianness": "little",
            },
            {"input": "a"},
        ),
    ],
)
def test_another_servers_field_has_the_effect_of_our_field(
    http: httpx.Client, theirs: dict[str, Any], ours: dict[str, Any]
) -> None:
    assert np.array_equal(vector(http, **theirs), vector(http, **ours))


def test_an_input_is_cut_to_the_requested_tokens_at_the_requested_end(
    http: httpx.Client, server: Server
) -> None:
    (ids,) = server.service.models.default.engine.tokeniser.ids([LONG])
    for fields, kept in (
        ({"truncate_prompt_tokens": 10}, ids[:8]),
        ({"truncate_prompt_tokens": 10, "truncation_side": "left"}, ids[-8:]),
        ({"truncate": "START"}, ids[-254:]),
    ):
        assert np.allclose(
            vector(http, model=MODEL, **fields),
            server.service.models.default.engine.embed_ids([kept])[0],
            atol=1e-6,
        )
    told = http.post(
        "/v1/embeddings", json={"model": MODEL, "input": [LONG, "a"], "truncate_prompt_tokens": 10}
    )
    assert told.json()["data"][0]["truncated_tokens"] == len(ids) - 8
    assert told.headers["x-truncated-inputs"] == "1"


def test_jinas_base64_has_openais_bytes(http: httpx.Client) -> None:
    request = {"model": MODEL, "input": "a", "embedding_type": "base64"}
    (one,) = http.post("/v1/embeddings", json=request).json()["data"]
    assert len(np.frombuffer(base64.b64decode(one["embedding"]), "<f4")) == 384


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/v1/embeddings", {"overflow": "mean", "truncate": True}, "truncate"),
        ("/v1/embeddings", {"dimensions": 64, "output_dimension": 128}, "output_dimension"),
        ("/v1/embeddings", {"output_dimension": 100}, "output_dimension"),
        ("/v1/embeddings", {"input_type": "query", "task": "retrieval.passage"}, "task"),
        ("/v1/embeddings", {"task": "unheard-of"}, "task"),
        ("/v1/embeddings", {"encoding_format": "float", "embedding_type": "base64"}, "embedding_type"),
        ("/v1/embeddings", {"embedding_types": ["float", "int8"]}, "embedding_type"),
        ("/v1/embeddings", {"normalize": False}, "normalize"),
        ("/v1/embeddings", {"late_chunking": True}, "late_chunking"),
        ("/v1/embeddings", {"return_multivector": True}, "return_multivector"),
        ("/v1/embeddings", {"add_special_tokens": False}, "add_special_tokens"),
        ("/v1/embeddings", {"endianness": "big"}, "endianness"),
        ("/v1/embeddings", {"truncate_prompt_tokens": 2}, "truncate_prompt_tokens"),
        ("/v1/embeddings", {"truncate_prompt_tokens": 257}, "truncate_prompt_tokens"),
        ("/v1/embeddings", {"truncate": False, "input": LONG}, "input"),
        ("/v1/rerank", {"top_n": 1, "top_k": 2}, "top_k"),
        ("/v1/rerank", {"return_documents": True, "return_text": False}, "return_text"),
        ("/v1/rerank", {"raw_scores": True}, "raw_scores"),
        ("/v1/rerank", {"truncation": False}, "documents"),
        ("/v1/rerank", {"rank_fields": ["title"], "documents": [{"text": "a"}]}, "documents[0].title"),
        ("/rerank", {"truncate": False}, "texts"),
        ("/rerank", {"raw_scores": True}, "raw_scores"),
        ("/embed", {"inputs": ["a", LONG]}, "inputs"),
        ("/embed", {"inputs": ["a", ""]}, "inputs"),
        ("/v2/embed", {"texts": ["a", LONG], "truncate": "NONE"}, "texts"),
        ("/v2/embed", {"texts": []}, "texts"),
        ("/v2/embed", {"texts": ["a"], "max_tokens": 2}, "max_tokens"),
    ],
)
def test_a_refusal_names_the_field_that_was_sent(
    http: httpx.Client, path: str, fields: dict[str, Any], param: str
) -> None:
    needed: dict[str, dict[str, Any]] = {
        "/v1/embeddings": {
            "model": MODEL if "output_dimension" in fields and "dimensions" not in fields else PROMPTED,
            "input": "a",
        },
        "/v1/rerank": {"query": QUERY, "documents": TEXTS},
        "/rerank": {"query": QUERY, "texts": TEXTS},
        "/embed": {},
        "/v2/embed": {"model": MODEL},
    }
    error = http.post(path, json={**needed[path], **fields}).json()["error"]
    assert error["param"] == param, error["message"]
    assert param in error["message"]


def test_every_path_names_the_long_text_and_its_own_remedy(http: httpx.Client) -> None:
    def message_of(path: str, body: dict[str, Any]) -> str:
        return str(http.post(path, json=body).json()["error"]["message"])

    assert message_of("/embed", {"inputs": ["a", LONG]}).startswith("inputs[1] has ")
    assert message_of("/embed", {"inputs": LONG}).endswith('or send "truncate": true to cut it')
    assert message_of("/v2/embed", {"model": MODEL, "texts": ["a", LONG], "truncate": "NONE"}).startswith(
        "texts[1] has "
    )
    assert message_of("/v1/rerank", {"query": QUERY, "documents": TEXTS, "truncation": False}).startswith(
        "documents[2] has "
    )
    assert message_of("/v1/rerank", {"query": LONG, "documents": ["a"], "truncation": False}).startswith(
        "query has "
    )


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ([[5], [7], [10**9]], "input[2] holds the token id 1000000000; this model has the ids 0 to 30,521"),
        ([[5], [7, -1], [9]], "input[1] holds the token id -1"),
        ([5, 30_522], "input holds the token id 30522"),
        ([[5], [7], [2**70]], "input[2] holds the token id 1180591620717411303424"),
    ],
)
def test_a_wrong_token_id_is_refused_before_anything_is_computed(
    http: httpx.Client, server: Server, inputs: list[Any], told: str
) -> None:
    batches = server.service.models.default.batcher.stats.batches
    error = http.post("/v1/embeddings", json={"model": MODEL, "input": inputs, "token_ids": "model"}).json()[
        "error"
    ]
    assert error["message"].startswith(told)
    assert server.service.models.default.batcher.stats.batches == batches


def test_a_token_array_that_cannot_be_decoded_is_named(http: httpx.Client) -> None:
    error = http.post("/v1/embeddings", json={"model": MODEL, "input": [[64], [100_300]]}).json()["error"]
    assert (error["message"], error["param"]) == (
        "input[1] holds the token id 100300, which cl100k_base does not have",
        "input",
    )


def test_reranking_accepts_the_fields_of_every_provider(http: httpx.Client) -> None:
    def ranked(**fields: Any) -> Any:
        return http.post("/v1/rerank", json={"query": QUERY, "documents": TEXTS, **fields}).json()

    assert [one["index"] for one in ranked(top_k=1)["results"]] == [1]
    assert ranked(top_n=1, return_text=True)["results"][0]["document"] == {"text": TEXTS[1]}
    by_hand = ranked(documents=[" ".join(text.split()[:3]) for text in WORDS])["results"]
    cut = ranked(documents=WORDS, max_tokens_per_doc=3)["results"]
    assert [one.get("truncated", False) for one in cut] == [True, True]
    assert {one["index"]: one["relevance_score"] for one in cut} == pytest.approx(
        {one["index"]: one["relevance_score"] for one in by_hand}, abs=1e-5
    )
    titled = [{"title": TEXTS[0], "body": "x"}, {"title": TEXTS[1], "body": "y"}]
    assert ranked(documents=titled, rank_fields=["title", "body"])["results"][0]["index"] == 1
    assert (
        http.post("/v1/rerank", json={"query": LONG, "documents": ["a"]}).headers["x-truncated-inputs"] == "1"
    )


def test_teis_rerank_path_answers_in_teis_form(http: httpx.Client) -> None:
    answer = http.post(
        "/rerank", json={"query": QUERY, "texts": TEXTS, "truncate": True, "return_text": True}
    ).json()
    assert answer[0] == {"index": 1, "score": pytest.approx(answer[0]["score"]), "text": TEXTS[1]}
    assert "text" not in http.post("/rerank", json={"query": QUERY, "texts": TEXTS[:2]}).json()[0]


def test_a_cross_encoder_cuts_and_refuses_long_texts_as_requested(reranking: httpx.Client) -> None:
    def ranked(documents: list[str], **fields: Any) -> Any:
        body = json.dumps({"query": QUERY, "documents": documents, **fields})
        return reranking.post("/v1/rerank", content=body, headers={"content-type": "application/json"}).json()

    def scores(answer: Any) -> dict[int, float]:
        return {one["index"]: one["relevance_score"] for one in answer["results"]}

    assert scores(ranked(WORDS, max_tokens_per_doc=2)) == pytest.approx(
        scores(ranked(["The pump", "Birds sleep"])), abs=1e-6
    )
    # The query has 7 tokens and the pair three special ones.
    assert scores(ranked(WORDS, truncate_prompt_tokens=12)) == pytest.approx(
        scores(ranked(["The pump", "Birds sleep"])), abs=1e-6
    )
    assert ranked(TEXTS, truncation=False)["error"]["message"].startswith("documents[2] and the query have ")
    assert ranked(TEXTS, truncate_prompt_tokens=10)["error"]["param"] == "truncate_prompt_tokens"
    assert ranked(["a\ud800"])["results"][0]["index"] == 0
    assert "side" in ranked(TEXTS, truncation_side="left")["error"]["message"]


def test_a_search_reports_that_its_query_was_cut(http: httpx.Client, birds: Any) -> None:
    assert (
        http.post(f"/v1/vector_stores/{birds.id}/search", json={"query": LONG}).headers["x-truncated-inputs"]
        == "1"
    )


def test_the_azure_client_works_with_its_path_and_its_key(settings: Settings) -> None:
    with serving(settings.model_copy(update={"api_key": SecretStr("a long secret")})) as server:
        options: dict[str, Any] = {
            "azure_endpoint": server.url,
            "api_version": "2024-10-21",
            "max_retries": 0,
        }
        with AzureOpenAI(api_key="a long secret", **options) as client:
            answer = client.embeddings.create(model=MODEL, input=["a heron"])
            assert (len(answer.data[0].embedding), answer.model) == (384, MODEL)
            with pytest.raises(openai.NotFoundError):
                client.embeddings.create(model="none", input="a")
        with AzureOpenAI(api_key="another", **options) as client, pytest.raises(openai.AuthenticationError):
            client.embeddings.create(model=MODEL, input="a")
        headers = {"authorization": "Bearer wrong", "api-key": "a long secret"}
        assert (
            httpx.get(f"{server.url}/v1/models", headers=headers, timeout=LONGEST_WAIT_S).status_code == 401
        )


def test_azures_path_names_the_model_in_place_of_the_body(http: httpx.Client) -> None:
    response = http.post(
        f"/openai/deployments/{PROMPTED}-query/embeddings?api-version=1", json={"input": "a", "model": "gpt"}
    )
    assert (response.status_code, response.json()["model"], response.headers["x-ignored-fields"]) == (
        200,
        f"{PROMPTED}-query",
        "model",
    )
    asked = http.post("/v1/embeddings", json={"model": PROMPTED, "input": f"{PROMPTS['query']}a"}).json()
    assert response.json()["data"] == asked["data"]


def test_a_model_shows_its_length_under_every_known_name(http: httpx.Client) -> None:
    model = http.get(f"/v1/models/{MODEL}").json()
    assert model["max_model_len"] == model["context_length"] == model["max_input_tokens"] == 256
