"""The media type and the coding of a request body."""

import functools
import gzip
import json
import zlib

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from serve_app.edge.bodies.decompression import Decompressor
from tests.serve_app.conftest import MODEL

#: Without the time of day, which would change the ids of the tests.
gzipped = functools.partial(gzip.compress, mtime=0)
REQUEST = {"model": MODEL, "input": "a heron"}
BODY = json.dumps(REQUEST).encode()
JSON = {"content-type": "application/json"}


def test_a_body_without_a_type_is_json(http: httpx.Client) -> None:
    request = http.build_request("POST", "/v1/embeddings", content=BODY)
    assert "content-type" not in request.headers

    assert http.send(request).status_code == 200


@pytest.mark.parametrize(
    "type", ["application/json", "APPLICATION/JSON; charset=utf-8", "application/vnd.api+json", ""]
)
def test_every_json_media_type_is_json(http: httpx.Client, type: str) -> None:
    assert http.post("/v1/embeddings", content=BODY, headers={"content-type": type}).status_code == 200


@pytest.mark.parametrize(
    "type",
    [
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/jsonl",
    ],
)
def test_another_media_type_is_refused_with_the_header_to_send(http: httpx.Client, type: str) -> None:
    refused = http.post("/v1/embeddings", content=BODY, headers={"content-type": type})

    message = refused.json()["error"]["message"]
    assert refused.status_code == 415
    assert repr(type) in message
    assert "'Content-Type: application/json'" in message
    assert ("curl" in message) == type.endswith("urlencoded")


def test_a_form_type_without_a_body_is_accepted(http: httpx.Client) -> None:
    """``curl -X POST -d ''`` sends such a request."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert http.post("/v1/jobs/job_none/cancel", content=b"", headers=form).status_code == 404


@pytest.mark.parametrize(
    ("coding", "compressed"),
    [
        ("gzip", gzipped(BODY[:9]) + gzipped(BODY[9:])),
        ("gzip", gzipped(b"") + gzipped(BODY) + bytes(512)),
        ("x-gzip", gzipped(BODY)),
        ("GZip, identity", gzipped(BODY)),
        ("deflate", zlib.compress(BODY)),
        ("identity", BODY),
        ("", BODY),
    ],
)
def test_a_body_is_decompressed_as_its_header_says(
    http: httpx.Client, coding: str, compressed: bytes
) -> None:
    assert (
        http.post(
            "/v1/embeddings", content=compressed, headers={**JSON, "content-encoding": coding}
        ).status_code
        == 200
    )


@pytest.mark.parametrize(
    ("coding", "compressed", "status"),
    [
        ("gzip, gzip", gzipped(gzipped(BODY)), 415),
        ("br", BODY, 415),
        ("gzip", gzipped(BODY) + b"more", 400),
        ("gzip", gzipped(BODY) + gzipped(BODY)[:-3], 400),
        ("deflate", zlib.compress(BODY) + b"more", 400),
        ("deflate", gzipped(BODY), 400),
        ("gzip", gzipped(b" " * 5_000_000) * 2, 413),
    ],
)
def test_a_body_that_cannot_be_decompressed_is_refused(
    http: httpx.Client, coding: str, compressed: bytes, status: int
) -> None:
    refused = http.post("/v1/embeddings", content=compressed, headers={**JSON, "content-encoding": coding})

    assert refused.status_code == status
    assert refused.json()["error"]["message"]
    assert refused.headers.get("accept-encoding") == ("gzip, deflate" if status == 415 else None)


@given(st.lists(st.binary(max_size=40), max_size=4), st.lists(st.integers(1, 30), min_size=1))
def test_gzip_members_may_arrive_in_parts_of_any_size(members: list[bytes], steps: list[int]) -> None:
    compressed, decompressor, found, at = (
        b"".join(map(gzip.compress, [*members, b"end"])),
        Decompressor("gzip", max_bytes=1_000),
        b"",
        0,
    )
    while at < len(compressed):
        step = steps[at % len(steps)]
        found += decompressor.decompress(compressed[at : at + step], last=at + step >= len(compressed))
        at += step
    assert found == b"".join([*members, b"end"])


def test_endless_empty_gzip_members_are_refused() -> None:
    decompressor, empty = Decompressor("gzip", max_bytes=10_000), gzip.compress(b"") * 100
    assert decompressor.decompress(empty * 4, last=False) == b""
    with pytest.raises(HTTPException, match="even while compressed"):
        decompressor.decompress(empty * 4, last=False)
