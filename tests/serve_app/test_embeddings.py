"""POST /v1/embeddings as OpenAI's, seen from the unmodified client and from the wire."""

import base64
import re
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from openai import OpenAI

from tests.serve_app.conftest import MODEL, Server

TEXTS = ["a heron", "ein Reiher 🐦", "アオサギ", "a heron " * 60, " "]


def test_vectors_are_the_engines_in_order_with_the_tokens_it_read(openai_client: OpenAI, server: Server) -> None:
    answer = openai_client.embeddings.create(model=MODEL, input=TEXTS)
    direct = server.service.engine.embed(TEXTS)
    assert [item.index for item in answer.data] == list(range(len(TEXTS)))
    assert np.allclose([item.embedding for item in answer.data], direct.vectors, atol=1e-6)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == direct.token_counts.sum()
    assert (answer.object, answer.model) == ("list", MODEL)


def test_numbers_and_base64_are_the_same_little_endian_floats(http: httpx.Client) -> None:
    request = {"model": MODEL, "input": "a heron"}
    as_floats = http.post("/v1/embeddings", json=request).json()["data"][0]["embedding"]
    as_base64 = http.post("/v1/embeddings", json={**request, "encoding_format": "base64"}).json()["data"][0]["embedding"]
    assert np.array_equal(np.frombuffer(base64.b64decode(as_base64), "<f4"), np.array(as_floats, np.float32))


def test_two_thousand_and_forty_eight_inputs_fit_and_one_more_does_not(openai_client: OpenAI) -> None:
    answer = openai_client.embeddings.create(model=MODEL, input=["a"] * 2_048)
    assert len(answer.data) == 2_048
    with pytest.raises(openai.BadRequestError, match="2,048"):
        openai_client.embeddings.create(model=MODEL, input=["a"] * 2_049)


def test_a_model_that_is_not_served_is_not_found(openai_client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="does not exist") as refused:
        openai_client.embeddings.create(model="text-embedding-3-small", input="a")
    assert refused.value.code == "model_not_found"
    assert refused.value.request_id is not None


@pytest.mark.parametrize(
    ("change", "param", "complaint"),
    [
        ({"input": ""}, "input", "empty"),
        ({"input": []}, "input", "empty list"),
        ({"input": ["a", ""]}, "input", r"input\[1\]"),
        ({"input": [1, 100_300]}, "input", "100300, which cl100k_base does not have"),
        ({"input": [[1], []]}, "input", r"input\[1\] is empty"),
        ({"input": {"text": "a"}}, "input", "a text or a list"),
        ({"input": ["a", 1]}, "input", "a text or a list"),
        ({"input": "word " * 300}, "input", r"input\[0\] has 300 tokens; this model reads 254"),
        ({"input": ["word " * 250] * 1_250}, "input", "300,000"),
        ({"dimensions": 100}, "dimensions", "384"),
        ({"dimensions": 0}, "dimensions", "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format", "base64"),
        ({"unheard_of": 1}, "unheard_of", "unknown field"),
        ({"model": None}, "model", "model"),
    ],
)
def test_what_cannot_be_embedded_is_refused_by_name(http: httpx.Client, change: dict[str, Any], param: str, complaint: str) -> None:
    response = http.post("/v1/embeddings", json={"model": MODEL, "input": "a", **change})
    error = response.json()["error"]
    assert response.status_code == 400
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert re.search(complaint, error["message"]), error["message"]


def test_an_input_cut_on_request_is_told_in_a_field_and_a_header(http: httpx.Client) -> None:
    response = http.post("/v1/embeddings", json={"model": MODEL, "input": ["word " * 300, "short"], "overflow": "truncate"})
    first, second = response.json()["data"]
    assert first["truncated_tokens"] == 46
    assert "truncated_tokens" not in second
    assert response.headers["x-truncated-inputs"] == "1"
    assert response.json()["usage"]["prompt_tokens"] == 256 + 3


def test_the_models_own_token_ids_are_taken_when_said_to_be_so(openai_client: OpenAI, server: Server) -> None:
    ids = [one.tolist() for one in server.service.engine.tokeniser.ids(["a heron", "another"])]
    answer = openai_client.embeddings.create(model=MODEL, input=ids, extra_body={"token_ids": "model"})
    assert np.allclose([item.embedding for item in answer.data], server.service.engine.embed(["a heron", "another"]).vectors, atol=1e-6)
    with pytest.raises(openai.BadRequestError, match="token id"):
        openai_client.embeddings.create(model=MODEL, input=[[10**9]], extra_body={"token_ids": "model"})


def test_models_are_listed_and_found_by_name(openai_client: OpenAI) -> None:
    (model,) = openai_client.models.list().data
    assert openai_client.models.retrieve(MODEL) == model
    assert model.model_extra is not None
    assert model.model_extra["dimensions"] == 384
    with pytest.raises(openai.NotFoundError):
        openai_client.models.retrieve("another/one")
