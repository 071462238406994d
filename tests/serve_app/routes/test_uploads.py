"""/v1/uploads for OpenAI's unmodified client: large files in parts."""

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from openai import BadRequestError, OpenAI
from psycopg_pool import ConnectionPool

from cluster.documents import uploads as ledger
from cluster.settings import MIB, Settings
from serve_app.routes import uploads
from tests.openai_contract import complaints
from tests.serve_app.conftest import Server, serving
from tests.serve_app.raw_requests import TEXT, blob_exists, new_bytes, unfinished_blobs, upload
from tests.waiting import LONGEST_WAIT_S


def begin(http: httpx.Client, size: int, name: str = "a.txt", purpose: str = "assistants") -> str:
    """The id of a new upload."""
    answer = http.post(
        "/v1/uploads", json={"filename": name, "purpose": purpose, "bytes": size, "mime_type": "text/plain"}
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def send(http: httpx.Client, upload: str, data: bytes) -> httpx.Response:
    """Send one part."""
    return http.post(f"/v1/uploads/{upload}/parts", files={"data": ("part", data)})


def complete(http: httpx.Client, upload: str, *parts: str, **more: Any) -> httpx.Response:
    """Complete the upload."""
    return http.post(f"/v1/uploads/{upload}/complete", json={"part_ids": parts, **more})


def test_the_client_uploads_a_file_in_parts(openai_client: OpenAI, server: Server, tmp_path: Path) -> None:
    content = new_bytes(TEXT * 50_000)
    file = tmp_path / "long.txt"
    file.write_bytes(content)
    upload = openai_client.uploads.upload_file_chunked(
        file=file,
        mime_type="text/plain",
        purpose="assistants",
        part_size=300_000,
        md5=hashlib.md5(content).hexdigest(),
    )
    assert upload.status == "completed"
    assert upload.file is not None
    assert (upload.file.bytes, upload.file.filename) == (len(content), "long.txt")
    assert openai_client.files.content(upload.file.id).read() == content
    parts = [content[start : start + 300_000] for start in range(0, len(content), 300_000)]
    assert [blob_exists(server, part) for part in parts] == [False] * len(parts)


def test_every_answer_is_as_openai_describes_it(http: httpx.Client) -> None:
    content = new_bytes()
    id = begin(http, len(content))
    assert complaints("Upload", http.post(f"/v1/uploads/{begin(http, 10)}/cancel").json()) == []
    part = send(http, id, content).json()
    assert complaints("UploadPart", part) == []
    done = complete(http, id, part["id"]).json()
    assert complaints("Upload", done) == []
    assert complaints("OpenAIFile", done["file"]) == []
    refused = (
        complete(http, id, "x" * 65),
        send(http, "upload_none", b"x"),
        complete(http, begin(http, 3), "part_none"),
    )
    for answer, status in zip(refused, (400, 404, 400), strict=True):
        assert answer.status_code == status
        assert complaints("ErrorResponse", answer.json()) == []


def test_parts_may_be_sent_in_any_order_at_once_and_again(http: httpx.Client) -> None:
    pieces = [new_bytes() for _ in range(8)]
    id = begin(http, sum(map(len, pieces)))
    with ThreadPoolExecutor(4) as threads:
        ids = list(threads.map(lambda piece: send(http, id, piece).json()["id"], pieces[::-1]))
    assert send(http, id, pieces[0]).json()["id"] == ids[-1]
    done = complete(http, id, *ids[::-1]).json()
    assert http.get(f"/v1/files/{done['file']['id']}/content").content == b"".join(pieces)
    assert complete(http, id, *ids[::-1]).json() == done
    assert send(http, id, pieces[0]).status_code == 400


def test_concurrent_completions_both_get_the_file(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, join = new_bytes(), uploads._join
    id = begin(http, len(content))
    part = send(http, id, content).json()["id"]
    answers = []

    def join_after_another(*arguments: Any) -> Any:
        monkeypatch.setattr(uploads, "_join", join)
        answers.append(complete(http, id, part))
        return join(*arguments)

    monkeypatch.setattr(uploads, "_join", join_after_another)
    answers.append(complete(http, id, part))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()


def test_an_upload_has_a_limited_number_of_parts(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_PARTS", 1)
    id = begin(http, 1000)
    answers = [send(http, id, new_bytes()) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 400]
    assert "an upload may have 1" in answers[-1].json()["error"]["message"]


def test_an_upload_must_match_its_announced_size_and_md5(http: httpx.Client, server: Server) -> None:
    content = new_bytes()
    id = begin(http, len(content) + 1)
    part = send(http, id, content).json()["id"]
    assert "add up to" in complete(http, id, part).json()["error"]["message"]
    id = begin(http, len(content))
    part = send(http, id, content).json()["id"]
    wrong = complete(http, id, part, md5="0" * 32)
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "md5")
    assert complete(http, id, part, md5=hashlib.md5(content).hexdigest().upper()).status_code == 200
    binary = bytes(range(256)) + new_bytes()
    id = begin(http, len(binary), name="a.pdf")
    assert complete(http, id, send(http, id, binary).json()["id"]).status_code == 415
    assert http.post(f"/v1/uploads/{id}/cancel").json()["status"] == "cancelled"
    assert not blob_exists(server, binary)
    assert unfinished_blobs(server) == []


def test_a_cancelled_upload_deletes_its_bytes(
    openai_client: OpenAI, http: httpx.Client, server: Server
) -> None:
    content = new_bytes()
    upload = openai_client.uploads.create(
        bytes=len(content), filename="a.txt", mime_type="text/plain", purpose="assistants"
    )
    part = openai_client.uploads.parts.create(upload.id, data=content)
    assert blob_exists(server, content)
    assert openai_client.uploads.cancel(upload.id).status == "cancelled"
    assert not blob_exists(server, content)
    with pytest.raises(BadRequestError, match="cancelled"):
        openai_client.uploads.complete(upload.id, part_ids=[part.id])


def test_a_part_with_the_bytes_of_a_file_leaves_the_file(http: httpx.Client) -> None:
    content = new_bytes()
    made = http.post("/v1/files", files={"file": ("a.txt", content)}, data={"purpose": "assistants"}).json()
    id = begin(http, len(content))
    send(http, id, content)
    http.post(f"/v1/uploads/{id}/cancel")
    assert http.get(f"/v1/files/{made['id']}/content").content == content


@pytest.fixture(scope="module")
def small(settings: Settings, pool: ConnectionPool) -> Iterator[httpx.Client]:
    """A server with narrow limits, and an organisation of its own."""
    limits = {
        "max_part_bytes": MIB,
        "max_upload_bytes": 3 * MIB,
        "organisation": f"parts-{uuid4().hex[:8]}",
        "organisation_bytes": 4 * MIB,
    }
    changed = settings.model_copy(update={**limits, "upload_lifetime_s": 3})
    with serving(changed) as server, httpx.Client(base_url=server.url, timeout=LONGEST_WAIT_S) as http:
        yield http


def test_errors_about_limits_name_the_setting(small: httpx.Client) -> None:
    over = small.post(
        "/v1/uploads",
        json={"filename": "a.txt", "purpose": "batch", "bytes": 3 * MIB + 1, "mime_type": "text/plain"},
    )
    assert "CLUSTER_MAX_UPLOAD_BYTES" in over.json()["error"]["message"]
    id = begin(small, 3 * MIB)
    long = send(small, id, b"a" * (MIB + 1))
    assert long.status_code == 413
    assert "CLUSTER_MAX_PART_BYTES" in long.json()["error"]["message"]
    assert send(small, id, b"").status_code == 400
    refused = small.post(
        "/v1/uploads",
        json={"filename": "a.txt", "purpose": "batch", "bytes": 2 * MIB, "mime_type": "text/plain"},
    )
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    small.post(f"/v1/uploads/{id}/cancel")


def test_an_upload_expires(small: httpx.Client) -> None:
    id = begin(small, 10)
    part = send(small, id, b"0123456789").json()["id"]
    time.sleep(3.1)
    for answer in (send(small, id, b"0"), complete(small, id, part), small.post(f"/v1/uploads/{id}/cancel")):
        assert answer.status_code == 400
        assert "expired" in answer.json()["error"]["message"]


def test_a_file_longer_than_one_request_may_be_is_joined_byte_for_byte(settings: Settings) -> None:
    pieces = [(b"%07d\n" % n) * MIB for n in range(5)]  # 8 MiB each
    narrow = settings.model_copy(update={"max_file_bytes": 32 * MIB})
    with (
        serving(narrow) as server,
        httpx.Client(base_url=server.url, timeout=LONGEST_WAIT_S) as http,
        OpenAI(base_url=f"{server.url}/v1", api_key="none needed", max_retries=0) as client,
    ):
        assert upload(http, b"".join(pieces)).status_code == 413
        id = begin(http, sum(map(len, pieces)))
        ids = [send(http, id, piece).json()["id"] for piece in pieces]
        done = complete(http, id, *ids)
        assert done.status_code == 200, done.text
        got = sha256()
        with client.files.with_streaming_response.content(done.json()["file"]["id"]) as answer:
            for piece in answer.iter_bytes():
                got.update(piece)
        assert got.hexdigest() == sha256(b"".join(pieces)).hexdigest()
        client.files.delete(done.json()["file"]["id"])
