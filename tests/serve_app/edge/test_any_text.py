"""Whatever text a request holds, its answer has its shape: half a surrogate pair, NUL, names that are no names."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.serve_app.conftest import MODEL
from tests.serve_app.json_requests import taken

ODD = ["\ud800", "a\udfffb", "a\0b", "\x1b[31m", "n" * 5_000, "', --", "%s{0}"]
#: A request that is right, of each route with a body; those that are not here are new.
RIGHT: dict[str, Any] = {
    "/v1/embeddings": {"model": MODEL, "input": "a heron"},
    "/openai/deployments/{deployment}/embeddings": {"input": "a heron"},
    "/v1/tokenize": {"model": MODEL, "input": "a heron"},
    "/v1/rerank": {
        "query": "a heron",
        "documents": ["a bird", {"text": "a pump", "colour": "red"}],
        "return_documents": True,
    },
    "/rerank": {"query": "a heron", "texts": ["a bird", "a pump"], "return_text": True},
    "/embed": {"inputs": ["a heron"]},
    "/v2/embed": {"model": MODEL, "texts": ["a heron"], "input_type": "search_query"},
    "/v1/vector_stores": {"name": "odd", "metadata": {"k": "v"}, "description": "d"},
    "/v1/vector_stores/{vector_store_id}": {"name": "odd"},
    "/v1/vector_stores/{vector_store_id}/files": {"file_id": "file-none", "attributes": {"k": "v"}},
    "/v1/vector_stores/{vector_store_id}/files/{file_id}": {"attributes": {"k": "v"}},
    "/v1/vector_stores/{vector_store_id}/file_batches": {"file_ids": ["file-none"]},
    "/v1/vector_stores/{vector_store}/search": {
        "query": "a heron",
        "ranking_options": {"ranker": "auto"},
        "filters": None,
    },
    "/v1/jobs/retry": {"kind": "none", "subject": "none", "error_code": "none"},
    "/v1/uploads": {"filename": "a.txt", "purpose": "assistants", "bytes": 9, "mime_type": "text/plain"},
    "/v1/uploads/{upload_id}/complete": {"part_ids": ["part"], "md5": "0"},
}
IDS = {"deployment": MODEL}


def filled(path: str, id: str) -> str:
    """The path with this id for each name in it."""
    for name in ("vector_store_id", "vector_store", "file_id", "upload_id", "deployment"):
        path = path.replace(f"{{{name}}}", IDS.get(name, id))
    return path


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each text in the value."""
    if isinstance(value, str):
        yield way
    for key, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(inner, (*way, key))


def replaced(value: Any, way: tuple[Any, ...], text: Any) -> Any:
    """The value with the text in that place."""
    if not way:
        return text
    first, *rest = way
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[first] = replaced(value[first], tuple(rest), text)
    return changed


def test_every_route_with_a_body_is_tried_here() -> None:
    assert {one.path for one in taken()} == RIGHT.keys()


@pytest.mark.parametrize("path", RIGHT)
def test_odd_text_in_any_field_is_answered_in_shape(http: httpx.Client, path: str) -> None:
    for way in places(RIGHT[path]):
        for odd in ODD:
            body = json.dumps(replaced(RIGHT[path], way, odd))
            response = http.post(
                filled(path, "none"), content=body, headers={"content-type": "application/json"}
            )
            in_shape(response)


@pytest.mark.parametrize("path", RIGHT)
def test_odd_names_of_fields_are_answered_in_shape(http: httpx.Client, path: str) -> None:
    for odd in ODD:
        body = json.dumps({**RIGHT[path], odd: "v"})
        in_shape(http.post(filled(path, "none"), content=body, headers={"content-type": "application/json"}))


@pytest.mark.parametrize(
    "path",
    ["/v1/models/{}", "/v1/files/{}", "/v1/files/{}/content", "/v1/files?after={}", "/v1/files?purpose={}", "/v1/vector_stores/{}",
     "/v1/vector_stores?after={}", "/v1/vector_stores/{}/files", "/v1/vector_stores/{}/files/a", "/v1/vector_stores/a/files/{}",
     "/v1/vector_stores/a/file_batches/{}", "/v1/jobs/{}", "/v1/jobs?kind={}", "/v1/jobs?after={}", "/v1/jobs/{}/events", "/tasks/{}",
     "/v1/jobs?{}=1", "/{}"],
)  # fmt: skip
def test_odd_ids_are_answered_in_shape(http: httpx.Client, path: str) -> None:
    for odd in ("%00", "%ED%A0%80", "%FF", "a%0Ab", "%1B[31m", "n" * 5_000):
        in_shape(http.get(path.replace("{}", odd)))


def in_shape(response: httpx.Response) -> None:
    """As every answer is: UTF-8, of a request that is understood or refused; nothing of Postgres in it."""
    assert response.status_code < 500, response.text
    told = json.loads(response.content.decode())
    assert len(response.content) < 40_000
    assert "PostgreSQL" not in response.text
    assert "Input should" not in response.text
    if response.status_code >= 400:
        assert told["error"].keys() == {"message", "type", "param", "code"}


def test_what_comes_back_is_what_came_with_halves_replaced(http: httpx.Client) -> None:
    def post(path: str, body: Any) -> Any:
        return http.post(path, content=json.dumps(body), headers={"content-type": "application/json"}).json()

    assert post("/v1/embeddings", {"model": "\ud800", "input": "a"})["error"]["message"].startswith(
        "The model `\ufffd` does not exist"
    )
    documents = ["a\ud800b", {"text": "c\udfff", "id": 2**70, "of": {"\ud800": [None, 1.5]}}]
    ranked = post("/v1/rerank", {"query": "q\ud800", "documents": documents, "return_documents": True})[
        "results"
    ]
    assert sorted((one["index"], one["document"]) for one in ranked) == [
        (0, {"text": "a\ufffdb"}),
        (1, {"text": "c\ufffd", "id": 2**70, "of": {"\ufffd": [None, 1.5]}}),
    ]
    embedded = post("/v2/embed", {"model": MODEL, "texts": ["a\ud800", "b"], "input_type": "search_query"})
    assert embedded["texts"] == ["a\ufffd", "b"]
    plain = post("/v2/embed", {"model": MODEL, "texts": ["a\ufffd", "b"], "input_type": "search_query"})
    assert embedded["embeddings"] == plain["embeddings"]


def test_a_document_nested_deeper_than_answers_are_is_refused(http: httpx.Client) -> None:
    deep: Any = "x"
    for _ in range(150):
        deep = [deep]
    response = http.post(
        "/v1/rerank",
        json={"query": "q", "documents": ["a", {"text": "b", "deep": deep}], "return_documents": True},
    )
    assert (response.status_code, response.json()["error"]["param"]) == (400, "documents[1]")


@pytest.mark.parametrize("path", [path for path in RIGHT if path not in {"/v1/uploads/{upload_id}/complete"}])
def test_an_answer_is_the_same_with_null_in_every_optional_field(http: httpx.Client, path: str) -> None:
    (request,) = (one for one in taken() if one.path == path)
    schema = request.schema
    optional = (
        schema["properties"].keys()
        - schema.get("required", [])
        - request.model.NULL_CLEARS
        - RIGHT[path].keys()
    )
    plain, nulls = (
        http.post(filled(path, "none"), json=body)
        for body in (RIGHT[path], {**RIGHT[path], **dict.fromkeys(optional)})
    )
    assert plain.status_code == nulls.status_code
    assert "x-ignored-fields" not in nulls.headers
    if "embed" in path or "rerank" in path or "tokenize" in path:
        first, second = (
            {**one.json(), "id": ""} if isinstance(one.json(), dict) else one.json() for one in (plain, nulls)
        )
        assert first == second
