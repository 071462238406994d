"""A request that is sent twice with one key is executed once, and both get the same answer."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest
from openai import OpenAI
from psycopg_pool import ConnectionPool

from cluster.organisations.idempotency import LIFETIME_S, delete_old_answers
from cluster.settings import Settings
from tests.serve_app.raw_requests import blob_exists, new_bytes


def create_upload(http: httpx.Client, key: str, **more: Any) -> httpx.Response:
    """A new upload; without the key each request would create another one."""
    body = {"filename": "a.txt", "purpose": "assistants", "bytes": 10, "mime_type": "text/plain", **more}
    return http.post("/v1/uploads", json=body, headers={"idempotency-key": key})


def test_the_same_key_and_request_gets_the_same_answer(http: httpx.Client) -> None:
    key = uuid4().hex
    first, again = create_upload(http, key), create_upload(http, key)
    assert first.status_code == 200
    assert again.json() == first.json()
    assert create_upload(http, uuid4().hex).json()["id"] != first.json()["id"]


def test_concurrent_requests_with_one_key_get_one_answer(http: httpx.Client) -> None:
    key = uuid4().hex
    with ThreadPoolExecutor(8) as threads:
        assert (
            len(
                {
                    create_upload(http, key).json()["id"]
                    for _ in threads.map(lambda _: create_upload(http, key), range(8))
                }
            )
            == 1
        )


def test_a_key_with_another_request_is_refused(http: httpx.Client) -> None:
    key = uuid4().hex
    assert create_upload(http, key).status_code == 200
    refused = create_upload(http, key, bytes=11)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "idempotency_key_reused")
    elsewhere = http.post(
        "/v1/files",
        files={"file": ("a.txt", new_bytes())},
        data={"purpose": "assistants"},
        headers={"idempotency-key": key},
    )
    assert elsewhere.json()["error"]["code"] == "idempotency_key_reused"


def test_a_refusal_is_not_stored(http: httpx.Client) -> None:
    key = uuid4().hex
    assert create_upload(http, key, bytes=1 << 50).status_code == 400
    assert create_upload(http, key).status_code == 200


def test_uploads_with_one_key_are_compared_by_their_bytes(openai_client: OpenAI, http: httpx.Client) -> None:
    key, content = uuid4().hex, new_bytes()

    def send(data: bytes, name: str = "a.txt") -> httpx.Response:
        return http.post(
            "/v1/files",
            files={"file": (name, data)},
            data={"purpose": "assistants"},
            headers={"idempotency-key": key},
        )

    made = openai_client.files.create(
        file=("a.txt", content), purpose="assistants", extra_headers={"Idempotency-Key": key}
    )
    assert send(content).json()["id"] == made.id
    assert send(content, "b.txt").status_code == 400
    assert send(new_bytes()).status_code == 400


def test_a_refused_upload_with_a_used_key_keeps_no_bytes(http: httpx.Client, server: Any) -> None:
    key, content = uuid4().hex, new_bytes()
    assert create_upload(http, key).status_code == 200
    http.post(
        "/v1/files",
        files={"file": ("a.txt", content)},
        data={"purpose": "assistants"},
        headers={"idempotency-key": key},
    )
    assert not blob_exists(server, content)


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
def test_a_malformed_key_is_refused(http: httpx.Client, key: str) -> None:
    assert create_upload(http, key).status_code == 400


def test_a_key_expires_after_a_day(http: httpx.Client, pool: ConnectionPool, settings: Settings) -> None:
    key, other = uuid4().hex, uuid4().hex
    first = create_upload(http, key).json()
    create_upload(http, other)
    with pool.connection() as connection:
        for one in (key, other):
            connection.execute(
                "UPDATE idempotency_keys SET created_at = created_at - make_interval(secs => %s)"
                " WHERE organisation = %s AND key = %s",
                [LIFETIME_S, settings.organisation, one],
            )
    second = create_upload(http, key).json()
    assert second["id"] != first["id"]
    assert create_upload(http, key).json() == second
    with pool.connection() as connection:
        assert delete_old_answers(connection) >= 1
        left = connection.execute(
            "SELECT key FROM idempotency_keys WHERE key = ANY(%s)", [[key, other]]
        ).fetchall()
    assert left == [(key,)]
