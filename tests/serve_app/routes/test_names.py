"""A file keeps the name it was uploaded with, or the upload is refused with a reason."""

import json
from collections.abc import Callable
from urllib.parse import quote, unquote
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.cluster.documents.test_file_names import ANY, KEPT
from tests.serve_app.raw_requests import FILE, PURPOSE, new_bytes, raw_form

#: What a name may lose: separators, controls, halves of surrogate pairs, and what changes the direction of
#: text.
REPLACED = set("/\\\x7f\u2028\u2029") | {
    chr(code) for code in (*range(0x20), *range(0x80, 0xA0), *range(0xD800, 0xE000))
}
REPLACED |= {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}

Send = Callable[[httpx.Client, str], httpx.Response]


def by_browser(http: httpx.Client, name: str) -> httpx.Response:
    escaped = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    body, headers = raw_form(new_bytes(), PURPOSE, FILE.replace("a.txt", escaped))
    return http.post("/v1/files", content=body, headers=headers)


def by_extended_name(http: httpx.Client, name: str) -> httpx.Response:
    body, headers = raw_form(
        new_bytes(), PURPOSE, FILE.replace('filename="a.txt"', f"filename*=UTF-8''{quote(name, safe='')}")
    )
    return http.post("/v1/files", content=body, headers=headers)


def by_older_path(http: httpx.Client, name: str) -> httpx.Response:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "%0D").replace("\n", "%0A")
    body, headers = raw_form(new_bytes(), FILE.replace("a.txt", escaped))
    made = http.post("/upload", content=body, headers=headers)
    return made if made.status_code != 200 else http.get(f"/v1/files/{made.json()['file_id']}")


def by_parts(http: httpx.Client, name: str) -> httpx.Response:
    content = new_bytes()
    announced = json.dumps(
        {"filename": name, "purpose": "assistants", "bytes": len(content), "mime_type": "text/plain"}
    )
    made = http.post("/v1/uploads", content=announced, headers={"content-type": "application/json"})
    if made.status_code != 200:
        return made
    upload = made.json()["id"]
    part = http.post(f"/v1/uploads/{upload}/parts", files={"data": (name, content)}).json()["id"]
    done = http.post(f"/v1/uploads/{upload}/complete", json={"part_ids": [part]}).json()
    return http.get(f"/v1/files/{done['file']['id']}")


def names_shown(http: httpx.Client, file: dict[str, str]) -> set[str]:
    """The names that the list, the file and its download show."""
    listed = {one["id"]: one["filename"] for one in http.get("/v1/files", params={"limit": 3}).json()["data"]}
    said = http.get(f"/v1/files/{file['id']}/content").headers["content-disposition"]
    downloaded = unquote(said.removeprefix("attachment; filename*=UTF-8''"), errors="strict")
    return {listed[file["id"]], http.get(f"/v1/files/{file['id']}").json()["filename"], downloaded}


@pytest.mark.parametrize("send", [by_browser, by_extended_name, by_older_path, by_parts])
@pytest.mark.parametrize("name", [KEPT[3], KEPT[6], KEPT[8], KEPT[11], 'a "b".txt', "x" * 255])
def test_real_names_are_kept(http: httpx.Client, send: Send, name: str) -> None:
    made = send(http, name)
    assert made.status_code == 200, made.text
    assert names_shown(http, made.json()) == {name}


def test_the_longest_name_of_four_byte_characters_is_kept(http: httpx.Client) -> None:
    name = "\U0001f600" * 255
    assert names_shown(http, by_extended_name(http, name).json()) == {name}


@given(name=ANY, send=st.sampled_from([by_browser, by_extended_name]))
@example(name="\r\n", send=by_browser)
@example(name="%22\\", send=by_browser)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_name_is_kept_or_refused_with_a_reason(http: httpx.Client, name: str, send: Send) -> None:
    sent = name.encode(errors="replace").decode()
    made = send(http, sent)
    if made.status_code == 400:
        assert any(
            reason in made.json()["error"]["message"]
            for reason in ("is not a name for a file", "control character", "it may have 255")
        )
        return
    assert made.status_code == 200, made.text
    (blob_exists,) = names_shown(http, made.json())
    if not set(sent) & REPLACED and "%" not in sent:
        assert blob_exists == sent.strip()
    assert by_extended_name(http, blob_exists).json()["filename"] == blob_exists


@pytest.mark.parametrize(
    "name",
    [
        "a/b",
        "/",
        "a//b/",
        "legal/files",
        "search",
        "a/search",
        "a b",
        "50%",
        "a%2Fb",
        "q?x#y",
        "a+b;c=d",
        "größe \u202f🙂",
        "two\nlines/",
        "\\",
    ],
)
def test_a_store_with_any_name_can_be_searched_by_it(http: httpx.Client, name: str) -> None:
    name = f"{name}{uuid4().hex[:8]}{name}"
    made = http.post("/v1/vector_stores", json={"name": name}).json()
    try:
        for path in {quote(name, safe=""), quote(name), made["id"]}:
            answer = http.post(f"/v1/vector_stores/{path}/search", json={"query": "herons"})
            assert (answer.status_code, answer.json().get("data")) == (200, []), answer.text
        missing = http.post(
            f"/v1/vector_stores/{quote(f'no {name}', safe='')}/search", json={"query": "herons"}
        )
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    finally:
        assert http.delete(f"/v1/vector_stores/{made['id']}").json()["deleted"]


@given(name=st.text(st.characters(codec=None, exclude_categories=()), max_size=300))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_store_name_is_kept_or_refused_with_a_reason(http: httpx.Client, name: str) -> None:
    name = f"{uuid4().hex}{name}"
    body = json.dumps({"name": name})
    made = http.post("/v1/vector_stores", content=body, headers={"content-type": "application/json"})
    if made.status_code == 400:
        assert made.json()["error"]["param"] == "name"
        return
    assert made.status_code == 200, made.text
    assert http.get(f"/v1/vector_stores/{made.json()['id']}").json()["name"] == name
    assert http.delete(f"/v1/vector_stores/{made.json()['id']}").status_code == 200
