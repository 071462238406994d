"""/v1/files by the unmodified client, and by callers who do not behave."""

import gzip
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from psycopg_pool import ConnectionPool

from cluster.database import embedded
from cluster.settings import MIB, Settings
from tests.conftest import NewHome
from tests.openai_contract import complaints
from tests.serve_app.conftest import MODEL, Server, serving
from tests.serve_app.test_boundary import connect

TEXT = b"Herons stand still for hours before they strike.\n"
LINE = b'{"custom_id": "1", "body": {}}\n'


def fresh(text: bytes = TEXT) -> bytes:
    """Bytes nobody uploaded before."""
    return text + uuid4().hex.encode()


def upload(http: httpx.Client, content: bytes, name: str = "heron.txt", **fields: Any) -> httpx.Response:
    """One upload, the file first."""
    return http.post("/v1/files", files={"file": (name, content)}, data={"purpose": "assistants", **fields})


def kept(server: Server, content: bytes) -> bool:
    """True when a blob with these bytes is there."""
    return server.service.blobs.exists(server.service.settings.organisation, sha256(content).hexdigest())


def unfinished(server: Server) -> list[str]:
    """Files of writers."""
    folder = server.service.settings.home / "blobs" / server.service.settings.organisation / "incoming"
    return os.listdir(folder) if folder.is_dir() else []


def raw_form(content: bytes, *parts: str) -> tuple[bytes, dict[str, str]]:
    """A form's body and its header, part heads as given, the content in the last."""
    body = b"".join(b"--B\r\n" + part.encode() + b"\r\n" for part in parts[:-1])
    return body + b"--B\r\n" + parts[-1].encode() + content + b"\r\n--B--\r\n", {"content-type": "multipart/form-data; boundary=B"}


def test_the_client_uploads_lists_reads_and_deletes(openai_client: OpenAI, server: Server) -> None:
    content = fresh()
    made = openai_client.files.create(file=('größe "1".txt', content), purpose="assistants")
    assert (made.filename.startswith("größe"), made.bytes, made.purpose, made.status) == (True, len(content), "assistants", "processed")
    assert abs(made.created_at - time.time()) < 5
    assert made.expires_at is None
    assert openai_client.files.retrieve(made.id) == made
    assert openai_client.files.list(limit=1).data == [made]
    assert openai_client.files.content(made.id).read() == content
    assert openai_client.files.delete(made.id).deleted
    with pytest.raises(NotFoundError):
        openai_client.files.retrieve(made.id)
    with pytest.raises(NotFoundError):
        openai_client.files.delete(made.id)
    assert not kept(server, content)


def test_every_answer_is_as_openai_describes_it(http: httpx.Client) -> None:
    made = upload(http, fresh(), **{"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}).json()
    assert complaints("OpenAIFile", made) == []
    assert complaints("OpenAIFile", http.get(f"/v1/files/{made['id']}").json()) == []
    assert complaints("ListFilesResponse", http.get("/v1/files").json()) == []
    assert complaints("ListFilesResponse", http.get("/v1/files", params={"purpose": "nothing"}).json()) == []
    assert complaints("DeleteFileResponse", http.delete(f"/v1/files/{made['id']}").json()) == []
    for refused in (http.get("/v1/files/file-none"), upload(http, b""), upload(http, TEXT, purpose="fun")):
        assert complaints("ErrorResponse", refused.json()) == []


def test_a_list_is_read_page_by_page_while_its_files_are_deleted(openai_client: OpenAI) -> None:
    made = [openai_client.files.create(file=("p.jsonl", fresh(LINE)), purpose="fine-tune").id for _ in range(7)]
    seen = []
    for file in openai_client.files.list(purpose="fine-tune", limit=2, order="asc"):
        seen.append(file.id)
        openai_client.files.delete(file.id)
    assert seen == made
    assert openai_client.files.list(purpose="fine-tune").data == []


def test_the_same_upload_again_is_the_same_file_and_another_name_is_not(http: httpx.Client) -> None:
    content = fresh()
    first, again, renamed = upload(http, content).json(), upload(http, content).json(), upload(http, content, "other.txt").json()
    assert again == first
    assert renamed["id"] != first["id"]
    assert http.delete(f"/v1/files/{first['id']}").status_code == 200
    assert http.get(f"/v1/files/{renamed['id']}/content").content == content


def test_the_same_upload_twice_at_once_is_one_file(http: httpx.Client) -> None:
    for _ in range(5):
        content = fresh()
        with ThreadPoolExecutor(6) as threads:
            answers = list(threads.map(lambda _, content=content: upload(http, content).json()["id"], range(6)))
        assert len(set(answers)) == 1


def test_uploading_and_deleting_the_same_bytes_at_once_loses_none(http: httpx.Client) -> None:
    """Whatever was answered with 200 and not deleted can be read."""
    content = fresh()

    def churn(n: int) -> None:
        for turn in range(12):
            made = upload(http, content, f"{n}-{turn}.txt")
            if made.status_code == 503:
                continue
            id = made.json()["id"]
            assert http.get(f"/v1/files/{id}/content").content == content
            if turn % 4:
                assert http.delete(f"/v1/files/{id}").status_code == 200

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(churn, range(4)))
    left = [file["id"] for file in http.get("/v1/files").json()["data"] if file["bytes"] == len(content)]
    assert [http.get(f"/v1/files/{id}/content").status_code for id in left] == [200] * len(left)


def test_a_file_may_be_made_to_expire(openai_client: OpenAI, http: httpx.Client) -> None:
    made = openai_client.files.create(
        file=("a.txt", fresh()), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 7200}
    )  # fmt: skip
    assert made.expires_at == made.created_at + 7200
    batch = openai_client.files.create(file=("a.jsonl", fresh(LINE)), purpose="batch")
    assert batch.expires_at == batch.created_at + 30 * 24 * 3600
    for fields in (
        {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3599"},
        {"expires_after[anchor]": "created_at", "expires_after[seconds]": "2592001"},
        {"expires_after[anchor]": "last_active_at", "expires_after[seconds]": "3600"},
        {"expires_after[anchor]": "created_at"},
        {"expires_after[seconds]": "3600"},
    ):
        refused = upload(http, fresh(), **fields)
        assert refused.status_code == 400
        assert "expires_after" in refused.json()["error"]["message"]


def test_a_file_is_attached_to_a_store_as_it_is_uploaded(
    openai_client: OpenAI, http: httpx.Client, pool: ConnectionPool, server: Server
) -> None:
    store = openai_client.vector_stores.create(name="at once")
    made = openai_client.files.create(
        file=("a.txt", fresh()), purpose="assistants", extra_body={"vector_store_id": store.id, "priority": "high"}
    )  # fmt: skip
    assert made.model_extra is not None
    assert made.model_extra["priority"] == "high"
    with pool.connection() as connection:
        attached = connection.execute("SELECT job FROM vector_store_files WHERE file = %s", [made.id]).fetchall()
        job = connection.execute("SELECT state, class, subject FROM jobs WHERE id = %s", [made.model_extra["job_id"]]).fetchall()
    assert attached == [(made.model_extra["job_id"],)]
    assert job == [("queued", "high", made.id)]
    content = fresh()
    assert upload(http, content, vector_store_id="vs_none").status_code == 404
    assert not kept(server, content)
    assert upload(http, fresh(), priority="urgent").status_code == 400
    openai_client.files.delete(made.id)
    with pool.connection() as connection:
        assert connection.execute("SELECT FROM vector_store_files WHERE file = %s", [made.id]).fetchall() == []
        assert connection.execute("SELECT state FROM jobs WHERE id = %s", [made.model_extra["job_id"]]).fetchall() == [("cancelled",)]


@pytest.mark.parametrize(
    ("content", "name", "purpose", "status"),
    [
        (b"%PDF-1.7 and so on", "a.exe", "assistants", 200),
        (b"<html><p>text", "a.txt", "user_data", 200),
        (b"\x7fELF\x02\x01\x01\x00", "honest.pdf", "assistants", 415),
        (b"\x00\x01\x02\x03", "a.txt", "user_data", 415),
        (b"PK\x03\x04", "a.docx", "assistants", 415),
        (b'\xef\xbb\xbf {"a": 1}\n', "a.jsonl", "batch", 200),
        (b"custom_id,body\n", "a.jsonl", "batch", 415),
        (b"%PDF-1.7", "a.jsonl", "fine-tune", 415),
        (b"\x89PNG\r\n\x1a\n", "a.png", "vision", 200),
        (TEXT, "a.png", "vision", 415),
        (LINE, "a.jsonl", "evals", 200),
    ],
)
def test_a_type_that_nothing_reads_is_refused_by_its_bytes(
    http: httpx.Client, server: Server, content: bytes, name: str, purpose: str, status: int
) -> None:
    content = fresh(content)
    answer = upload(http, content, name, purpose=purpose)
    assert answer.status_code == status, answer.text
    assert kept(server, content) == (status == 200)
    if status == 415:
        assert answer.json()["error"]["code"] == "unsupported_media_type"


PURPOSE = 'content-disposition: form-data; name="purpose"\r\n\r\nassistants'
FILE = 'content-disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'


@pytest.mark.parametrize(
    ("parts", "status", "complaint"),
    [
        ([PURPOSE, FILE], 200, ""),
        ([PURPOSE, "content-type: text/plain\r\n" + FILE], 200, ""),
        ([FILE], 400, "purpose"),
        ([PURPOSE, PURPOSE, FILE], 400, "twice"),
        ([FILE, PURPOSE, FILE], 400, "twice"),
        ([PURPOSE.replace("assistants", "fun"), FILE], 400, "purpose"),
        ([PURPOSE.replace("assistants", "a" * 9_000), FILE], 400, "longer than"),
        (['content-disposition: form-data; name="colour"\r\n\r\nred', FILE], 400, "colour"),
        (["content-disposition: form-data\r\n\r\nred", FILE], 400, "no name"),
        ([PURPOSE, FILE.replace('; filename="a.txt"', "")], 400, "must be a file"),
        ([PURPOSE, FILE.replace("a.txt", "")], 400, "name"),
        ([PURPOSE, FILE.replace("a.txt", "a" * 300)], 400, "255"),
        ([PURPOSE, FILE.replace("a.txt", "a\x01b")], 400, "cannot be printed"),
        ([PURPOSE, "x-long: " + "a" * 5_000 + "\r\n" + FILE], 400, "no form"),
        ([*[PURPOSE.replace("purpose", f"f{n}") for n in range(70)], FILE], 400, "more than 64"),
        ([PURPOSE, PURPOSE], 400, "twice"),
    ],
)
def test_forms_in_any_order_are_read_and_others_refused(
    http: httpx.Client, server: Server, parts: list[str], status: int, complaint: str
) -> None:
    body, headers = raw_form(fresh(), *parts)
    answer = http.post("/v1/files", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert complaint in answer.json()["error"]["message"]
    assert unfinished(server) == []


@pytest.mark.parametrize("name", ["../../etc/passwd.txt", "C:\\Users\\me\\passwd.txt", "/passwd.txt"])
def test_a_path_is_no_name_and_no_header_can_be_smuggled_in_one(http: httpx.Client, name: str) -> None:
    body, headers = raw_form(fresh(), PURPOSE, FILE.replace("a.txt", name.replace("\\", "\\\\")))
    made = http.post("/v1/files", content=body, headers=headers).json()
    assert made["filename"] == "passwd.txt"
    odd = upload(http, fresh(), "a\"; filename=b.html;'ü.txt").json()
    answer = http.get(f"/v1/files/{odd['id']}/content")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    said = answer.headers["content-disposition"]
    assert said.startswith("attachment; filename*=UTF-8''")
    assert not set(said.removeprefix("attachment; ")) & set('"; \r\n')


def test_what_is_no_form_or_ends_too_early_is_refused(http: httpx.Client, server: Server) -> None:
    body, headers = raw_form(fresh(), PURPOSE, FILE)
    assert http.post("/v1/files", json={"purpose": "assistants"}).status_code == 415
    assert http.post("/v1/files", content=body, headers={"content-type": "multipart/form-data"}).status_code == 400
    assert http.post("/v1/files", content=body[:-4], headers=headers).status_code == 400
    assert http.post("/v1/files", content=b"x" + body, headers=headers).status_code == 400
    assert http.post("/v1/files", content=b"", headers=headers).status_code == 400
    assert http.post("/v1/files", content=gzip.compress(body), headers={**headers, "content-encoding": "gzip"}).status_code == 415
    assert unfinished(server) == []


@pytest.fixture(scope="module")
def small(settings: Settings, pool: ConnectionPool) -> Iterator[Server]:
    """A server with narrow limits, and an organisation of its own."""
    limits = {"max_file_bytes": 3 * MIB, "organisation": f"small-{uuid4().hex[:8]}", "organisation_files": 4, "organisation_bytes": 5 * MIB}
    with serving(settings.model_copy(update={**limits, "body_timeout_s": 0.5})) as server:
        yield server


def test_a_file_that_is_too_long_is_refused_while_it_arrives(small: Server) -> None:
    sent = 0
    left: list[list[str]] = []

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield raw_form(b"", PURPOSE, FILE)[0][:-9]
        while sent < 100 * MIB:  # this client looks for an answer only when it has sent everything
            sent += 64 * 1024
            yield b"a" * 64 * 1024
        left.append(unfinished(small))

    with httpx.Client(base_url=small.url, timeout=60) as http:
        answer = http.post("/v1/files", content=endless(), headers={"content-type": "multipart/form-data; boundary=B"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
        assert left == [[]]
        told = upload(http, b"a" * (3 * MIB + 1))
        assert told.status_code == 413
        assert "CLUSTER_MAX_FILE_BYTES" in told.json()["error"]["message"]
        assert upload(http, fresh(b"a" * (3 * MIB - 32))).status_code == 200
    assert unfinished(small) == []


def test_an_organisation_that_keeps_too_much_is_told_when_and_what_to_delete(small: Server) -> None:
    with httpx.Client(base_url=small.url, timeout=60) as http:
        for file in http.get("/v1/files").json()["data"]:
            http.delete(f"/v1/files/{file['id']}")
        with ThreadPoolExecutor(8) as threads:
            many = list(threads.map(lambda n: upload(http, fresh(), f"{n}.txt"), range(8)))
        assert sorted(answer.status_code for answer in many) == [200] * 4 + [429] * 4
        refused = next(answer for answer in many if answer.status_code == 429)
        assert int(refused.headers["retry-after"]) > 0
        assert "CLUSTER_ORGANISATION_FILES" in refused.json()["error"]["message"]
        for file in http.get("/v1/files").json()["data"]:
            http.delete(f"/v1/files/{file['id']}")
        assert upload(http, fresh(b"a" * 2 * MIB)).status_code == 200
        assert upload(http, fresh(b"b" * 2 * MIB)).status_code == 200
        content = fresh(b"c" * 2 * MIB)
        assert "CLUSTER_ORGANISATION_BYTES" in upload(http, content).json()["error"]["message"]
    assert not kept(small, content)


def head_of(length: int) -> bytes:
    return (
        f"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: {length}\r\n\r\n".encode()
    )


def test_an_upload_may_take_its_time_but_must_go_on(small: Server) -> None:
    body, _ = raw_form(fresh(b"a" * 60_000), PURPOSE, FILE)
    with connect(small) as connection:
        connection.sendall(head_of(len(body)))
        for start in range(0, len(body), 5_000):  # longer than the half second a small body has
            connection.sendall(body[start : start + 5_000])
            time.sleep(0.12)
        assert connection.recv(20).startswith(b"HTTP/1.1 200")
    with connect(small) as connection:
        connection.sendall(head_of(len(body)) + body[:30_000])
        for start in range(30_000, 30_400, 10):
            try:
                connection.sendall(body[start : start + 10])
            except OSError:
                break
            time.sleep(0.05)
        assert connection.recv(20).startswith(b"HTTP/1.1 408")
    assert unfinished(small) == []


def test_an_upload_that_is_cut_leaves_no_row_and_no_bytes(http: httpx.Client, server: Server) -> None:
    before = http.get("/v1/files").json()
    content = fresh(b"a" * 3 * MIB)
    body, _ = raw_form(content, PURPOSE, FILE)
    with connect(server) as connection:
        connection.sendall(head_of(len(body)) + body[: 2 * MIB])
        wait_until(lambda: unfinished(server) != [])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: unfinished(server) == [])
    assert not kept(server, content)
    assert http.get("/v1/files").json() == before


def wait_until(condition: Callable[[], bool]) -> None:
    """Fail if it does not come about."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_damaged_file_never_arrives_whole(http: httpx.Client, server: Server) -> None:
    short, long = fresh(), fresh(b"a" * 5 * MIB)
    ids = [upload(http, content).json()["id"] for content in (short, long)]
    for content in (short, long):
        name = sha256(content).hexdigest()
        (server.service.settings.home / "blobs" / server.service.settings.organisation / name[:2] / name).write_bytes(content[:-1] + b"?")
    assert http.get(f"/v1/files/{ids[0]}/content").status_code == 500
    with pytest.raises(httpx.RemoteProtocolError):
        http.get(f"/v1/files/{ids[1]}/content")
    for id in ids:
        assert http.delete(f"/v1/files/{id}").status_code == 200


def test_a_database_that_is_down_is_503_and_nothing_is_half_accepted(new_home: NewHome) -> None:
    home = new_home("down")
    url = embedded.start(home)
    settings = home.model_copy(update={"database_url": type(home).model_validate({"database_url": url}).database_url})
    with serving(settings) as server, httpx.Client(base_url=server.url, timeout=60) as http:
        first = upload(http, fresh()).json()
        embedded.stop(home)
        content = fresh()
        refused = upload(http, content)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert embedded.start(home).rpartition("/")[0] == url.rpartition("/")[0]
        assert [file["id"] for file in http.get("/v1/files").json()["data"]] == [first["id"]]
        assert upload(http, content).status_code == 200


def test_a_postgres_that_was_killed_is_back_for_the_next_upload(http: httpx.Client, settings: Settings) -> None:
    os.kill(embedded.status(settings).pid or 0, signal.SIGKILL)
    assert upload(http, fresh()).status_code == 200


FULL = """
import json, os, resource, sys
from cluster.settings import Settings
from tests.serve_app.conftest import serving
import httpx

def upload(http, content):
    return http.post("/v1/files", files={"file": ("a.txt", content)}, data={"purpose": "assistants"})

with serving(Settings()) as server, httpx.Client(base_url=server.url, timeout=60) as http:
    small = upload(http, b"fits").status_code
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))  # the kernel refuses what is longer
    full = upload(http, b"a" * 5_000_000)
    listed = len(http.get("/v1/files").json()["data"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    after = upload(http, b"a" * 5_000_000).status_code
    answers = json.dumps([small, full.status_code, full.headers.get("retry-after"), full.json()["error"]["message"], listed, after])
    open(sys.argv[1], "w").write(answers)
"""


def test_a_full_disk_is_503_until_there_is_room(new_home: NewHome, tmp_path: Path) -> None:
    home = new_home("full")
    embedded.start(home)
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "answers.json")],
        env={**os.environ, "CLUSTER_HOME": str(home.home), "CLUSTER_DATABASE_URL": embedded.url(home)},
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    small, full, retry_after, message, listed, after = json.loads((tmp_path / "answers.json").read_text())
    assert (small, full, listed, after) == (200, 503, 1, 200)
    assert int(retry_after) > 0
    assert "full" in message


def test_uploads_answer_fast_while_the_engine_is_busy(http: httpx.Client, server: Server) -> None:
    """p99 under 200 ms on an idle machine; printed, and held to what a shared one can do."""
    stop = threading.Event()
    texts = [f"The {n}th sentence about herons. " * 12 for n in range(64)]

    def embed() -> None:
        with httpx.Client(base_url=server.url, timeout=120) as client:
            n = 0
            while not stop.is_set():
                n += 1
                client.post(
                    "/v1/embeddings", json={"model": MODEL, "input": [f"{n} {text}" for text in texts]}, headers={"x-priority": "bulk"}
                )

    threads = [threading.Thread(target=embed) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    took = []
    try:
        for _ in range(100):
            content = fresh(TEXT * 2_000)  # 100 KB
            began = time.perf_counter()
            assert upload(http, content).status_code == 200
            took.append((time.perf_counter() - began) * 1000)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    p50, p99 = np.percentile(took, [50, 99])
    print(f"\nupload of 100 KB while embedding: p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    assert p99 < 1_000


SEND = """
import pathlib, sys
from openai import OpenAI

made = OpenAI(base_url=sys.argv[1], api_key="none").files.create(file=pathlib.Path(sys.argv[2]), purpose="assistants")
print(made.id, made.bytes)
"""


def test_a_long_file_is_never_in_memory_as_a_whole_and_holds_nobody_up(openai_client: OpenAI, http: httpx.Client, tmp_path: Path) -> None:
    file = tmp_path / "long.txt"
    with file.open("wb") as opened:
        for n in range(200):
            opened.write((b"%07d\n" % n) * (MIB // 8))
    # A process of its own, since this one is the server's.
    client = subprocess.Popen([sys.executable, "-c", SEND, str(openai_client.base_url), str(file)], stdout=subprocess.PIPE, text=True)
    waits = []
    while client.poll() is None:
        began = time.perf_counter()
        http.get("/healthz")
        waits.append(time.perf_counter() - began)
        time.sleep(0.01)
    assert client.stdout is not None
    id, size = client.stdout.read().split()
    client.stdout.close()
    assert int(size) == 200 * MIB
    assert max(waits) < 0.5
    digest = sha256()
    with openai_client.files.with_streaming_response.content(id) as answer:
        for piece in answer.iter_bytes():
            digest.update(piece)
    assert digest.hexdigest() == sha256(file.read_bytes()).hexdigest()
    openai_client.files.delete(id)


def test_another_organisation_sees_none_of_it(small: Server, openai_client: OpenAI) -> None:
    made = openai_client.files.create(file=io.BytesIO(fresh()), purpose="user_data")
    with OpenAI(base_url=f"{small.url}/v1", api_key="none", max_retries=0) as stranger:
        for ask in (stranger.files.retrieve, stranger.files.content, stranger.files.delete):
            with pytest.raises(NotFoundError):
                ask(made.id)
        assert made.id not in [file.id for file in stranger.files.list()]
    with pytest.raises(BadRequestError):
        openai_client.files.retrieve("file-\0")
