"""Request bodies have strict types, ``null`` means "not given", and errors are plain sentences."""

import copy
import re
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from serve_app.edge.validation_messages import validation_message
from tests.serve_app.conftest import MODEL
from tests.serve_app.json_requests import ANYTHING, JsonRequestBody, bodies_of_routes, json_request_bodies

#: Each model once, because the paths of OpenAI for webhooks have the same models as our paths.
EVERY = [pytest.param(one, id=one.path) for one in {one.model: one for one in bodies_of_routes()}.values()]
#: Words of pydantic and FastAPI, and the names that pydantic gives to members of a union.
FRAMEWORKS = re.compile(
    r"Input should|valid (dict|str|int|list)|Value error|type=|\bstr\b|\bint\b|list\[|Document|function-"
    r"|extra_"
)


def outcome(model: type[BaseModel], body: Any) -> Any:
    """The parsed request, or the message that refuses it."""
    try:
        return model.model_validate(body, from_attributes=True)
    except ValidationError as exc:
        return validation_message([{**error, "loc": ("body", *error["loc"])} for error in exc.errors()], body)


def test_every_request_of_the_document_is_checked() -> None:
    checked = {one.path: one.model for one in bodies_of_routes()}
    assert checked == {one.path: one.model for one in json_request_bodies()}


@pytest.mark.parametrize("request_", EVERY)
@settings(max_examples=25)
@given(data=st.data())
def test_null_means_not_given(request_: JsonRequestBody, data: st.DataObject) -> None:
    schema = request_.schema
    body = data.draw(request_.bodies)
    optional = [
        name
        for name in schema["properties"]
        if name not in schema.get("required", ()) and name not in request_.model.NULL_CLEARS
    ]
    nulls = dict.fromkeys(data.draw(st.lists(st.sampled_from(optional), unique=True)) if optional else [])
    without = {name: value for name, value in body.items() if name not in nulls}
    assert outcome(request_.model, {**body, **nulls}) == outcome(request_.model, without)


@pytest.mark.parametrize("request_", EVERY)
@settings(max_examples=50)
@given(data=st.data())
def test_every_error_names_the_field_as_the_client_wrote_it(
    request_: JsonRequestBody, data: st.DataObject
) -> None:
    body = with_one_wrong_value(copy.deepcopy(data.draw(request_.bodies)), data)
    found = outcome(request_.model, body)
    if isinstance(found, BaseModel):
        return
    own_words = found.message.replace(found.param or "\0", "")
    assert not FRAMEWORKS.search(re.sub(r" is .*?; it must", "", own_words)), found.message
    assert (
        "the body" in found.message
        if found.param is None
        else repr(found.param)[1:-1] in found.message or found.param in found.message
    )


def with_one_wrong_value(body: Any, data: st.DataObject) -> Any:
    """The body with one value replaced or removed."""
    if not isinstance(body, dict | list) or not body or data.draw(st.booleans()):
        return data.draw(ANYTHING)
    where = data.draw(st.sampled_from(sorted(body) if isinstance(body, dict) else range(len(body))))
    if isinstance(body, dict) and data.draw(st.booleans()):
        del body[where]
    else:
        body[where] = with_one_wrong_value(body[where], data)
    return body


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("/v1/embeddings", {"input": ["2023", 2024]}, "position 1 of it holds 2024 beside texts"),
        ("/v1/embeddings", {"input": ["90210", "10001", 60601]}, "position 2 of it holds 60601 beside texts"),
        ("/v1/embeddings", {"input": [2024, "2023"]}, 'position 1 of it holds "2023" beside token ids'),
        ("/v1/embeddings", {"input": [["10115"]]}, "position 0 of it holds a list"),
        ("/v1/embeddings", {"input": [True, False]}, "position 0 of it holds true"),
        ("/v1/embeddings", {"input": [1, True]}, "position 1 of it holds true"),
        ("/v1/embeddings", {"input": [1.0, 2.0]}, "position 0 of it holds 1.0"),
        ("/v1/embeddings", {"input": [[1], [1, "2"]]}, "position 1 of it holds a list"),
        ("/v1/embeddings", {"input": 5}, "input must be a text or a list of texts"),
        (
            "/v1/embeddings",
            {"input": "a", "dimensions": "384"},
            'dimensions is "384"; it must be a whole number',
        ),
        (
            "/v1/embeddings",
            {"input": "a", "dimensions": True},
            "dimensions is true; it must be a whole number",
        ),
        (
            "/v1/embeddings",
            {"input": "a", "dimensions": 384.5},
            "dimensions is 384.5; it must be a whole number",
        ),
        (
            "/v1/embeddings",
            {"input": "a", "encoding_format": "hex"},
            'encoding_format is "hex"; it must be float or base64',
        ),
        ("/v1/tokenize", {"input": ["a", 1]}, "input[1] is 1; it must be a text"),
        ("/v1/rerank", {"query": 5, "documents": ["a"]}, "query is 5; it must be a text"),
        ("/v1/rerank", {"query": "a", "documents": [5]}, "documents[0] is 5; it must be a text or an object"),
        (
            "/v1/rerank",
            {"query": "a", "documents": ["a", {"text": 5}]},
            "documents[1].text is 5; it must be a text",
        ),
        (
            "/v1/rerank",
            {"query": "a", "documents": ["a", {"txt": "b"}]},
            "documents[1].text is missing or not a text",
        ),
        (
            "/v1/rerank",
            {"query": "a", "documents": ["a"], "top_n": "1"},
            'top_n is "1"; it must be a whole number',
        ),
        (
            "/v1/rerank",
            {"query": "a", "documents": ["a"], "return_documents": 1},
            "return_documents is 1; it must be true or false",
        ),
        ("/embed", {"inputs": [1]}, "inputs[0] is 1; it must be a text"),
        ("/embed", {"inputs": "a", "truncate": "yes"}, 'truncate is "yes"; it must be true or false'),
        ("/rerank", {"query": "a", "texts": ["a", None]}, "texts[1] is null; it must be a text"),
        ("/v2/embed", {"texts": "a"}, 'texts is "a"; it must be a list'),
        ("/v2/embed", {"texts": ["a", 2024]}, "texts[1] is 2024; it must be a text"),
        ("/v1/vector_stores/none/search", {"query": ["a", 7]}, "query[1] is 7; it must be a text"),
        (
            "/v1/vector_stores/none/search",
            {"query": "a", "ranking_options": 5},
            "ranking_options is 5; it must be an object",
        ),
        (
            "/v1/vector_stores/none/search",
            {"query": "a", "ranking_options": {"score_threshold": True}},
            "ranking_options.score_threshold is true; it must be a number",
        ),
        (
            "/v1/vector_stores/none/search",
            {"query": "a", "rewrite_query": True},
            "rewrite_query is true, but this cluster has no chat model (CLUSTER_CHAT_MODELS)",
        ),
        ("/v1/vector_stores/none/search", {"query": "a", "filter": {}}, "unknown field 'filter'"),
        ("/v1/vector_stores", {"file_ids": ["f"] * 501}, "file_ids has 501 items; it may have at most 500"),
        ("/v1/vector_stores", {"name": "n" * 257}, "name has 257 characters; it may have at most 256"),
        ("/v1/vector_stores", {"name": "a\0b"}, "name must not have a NUL character"),
        ("/v1/vector_stores", {"metadata": {"k": 5}}, "metadata.k is 5; it must be a text"),
        (
            "/v1/vector_stores",
            {"chunking_strategy": {"type": "other"}},
            'chunking_strategy.type is "other"; it must be auto or static',
        ),
        ("/v1/vector_stores", {"chunking_strategy": {}}, "chunking_strategy.type is missing"),
        ("/v1/vector_stores", [], "the body must be an object"),
        ("/v1/jobs/retry", {"failed_after": "1700000000"}, "failed_after must be a time with its zone"),
        (
            "/v1/jobs/retry",
            {"priority": "urgent"},
            'priority is "urgent"; it must be high or medium or low or scheduled',
        ),
        ("/v1/jobs/retry", {"errorcode": "disk_full"}, "unknown field 'errorcode'"),
        (
            "/v1/uploads",
            {"filename": "a", "purpose": "batch", "bytes": "9", "mime_type": "a"},
            'bytes is "9"; it must be a whole number',
        ),
        ("/v1/uploads", {"filename": "a"}, "purpose is missing"),
    ],
)
def test_a_value_of_another_type_is_refused(http: httpx.Client, path: str, body: Any, sentence: str) -> None:
    if isinstance(body, dict) and path in {"/v1/embeddings", "/v1/tokenize", "/v2/embed"}:
        body = {"model": MODEL, **body}
    response = http.post(path, json=body)
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error"), (
        response.text
    )
    assert sentence in response.json()["error"]["message"]


def test_a_whole_number_may_be_written_with_a_point(http: httpx.Client) -> None:
    """Some languages write all their numbers that way."""
    assert (
        http.post("/v1/embeddings", json={"model": MODEL, "input": "a", "dimensions": 384.0}).status_code
        == 200
    )
    assert (
        len(
            http.post("/v1/rerank", json={"query": "a", "documents": ["a", "b"], "top_n": 1.0}).json()[
                "results"
            ]
        )
        == 1
    )
    made = {"expires_after": {"anchor": "last_active_at", "days": 2.0}}
    assert http.post("/v1/vector_stores", json=made).json()["expires_after"]["days"] == 2


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{", "not valid JSON"),
        (b'{"model": NaN}', "NaN is not a number in JSON"),
        (b'{"input": "\xff"}', "not UTF-8"),
        (b"[" * 200_000, "nested too deep"),
        (b"1" * 5_000, "cannot be read as JSON"),
        (b"", "the body is missing"),
        (b"null", "the body"),
        (b"5", "the body must be an object"),
    ],
)
def test_the_error_for_an_unreadable_body_says_why(http: httpx.Client, content: bytes, sentence: str) -> None:
    response = http.post("/v1/embeddings", content=content, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert sentence in response.json()["error"]["message"]
    assert not FRAMEWORKS.search(response.json()["error"]["message"])


@pytest.mark.parametrize(
    ("path", "sentence", "param"),
    [
        ("/v1/vector_stores?limit=0", 'the query parameter limit is "0"; it must be at least 1', "limit"),
        (
            "/v1/vector_stores?limit=101",
            'the query parameter limit is "101"; it must be at most 100',
            "limit",
        ),
        ("/v1/files?limit=many", 'the query parameter limit is "many"; it must be a whole number', "limit"),
        ("/v1/files?order=up", 'the query parameter order is "up"; it must be asc or desc', "order"),
        ("/v1/jobs?state=lost", 'the query parameter state is "lost"; it must be', "state"),
        (
            "/v1/jobs?created_after=yesterday",
            "the query parameter created_after must be a time with its zone",
            "created_after",
        ),
        ("/v1/jobs?kind=a%00b", "kind has a NUL character", "kind"),
        ("/v1/jobs/a%00b", "job_id has a NUL character", "job_id"),
        ("/v1/files/a%00b", "file_id has a NUL character", "file_id"),
    ],
)
def test_errors_about_queries_and_paths_name_the_parameter(
    http: httpx.Client, path: str, sentence: str, param: str
) -> None:
    response = http.get(path)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param), response.text
    assert sentence in response.json()["error"]["message"]


def test_an_error_about_a_header_names_the_header(http: httpx.Client) -> None:
    error = http.get("/v1/jobs/job_1/events", headers={"last-event-id": "x"}).json()["error"]
    assert (error["param"], error["message"]) == (
        "last-event-id",
        'the header last-event-id is "x"; it must be a whole number',
    )
