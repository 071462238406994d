"""Uploads that go wrong: too long, too slow, too many, cut off, damaged, the database down, the disk full; and that hold nobody up."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import httpx
import numpy as np
import pytest
from openai import OpenAI
from pydantic import SecretStr

from cluster.database import bundled
from cluster.settings import MIB, Settings
from tests.conftest import NewHome, kill_postmaster
from tests.serve_app.conftest import MODEL, Server, serving
from tests.serve_app.edge.test_boundary import connect
from tests.serve_app.raw_uploads import (
    FILE,
    PURPOSE,
    TEXT,
    fresh,
    head_of,
    kept,
    raw_form,
    unfinished,
    upload,
    wait_until,
)


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
        answer = http.post(
            "/v1/files", content=endless(), headers={"content-type": "multipart/form-data; boundary=B"}
        )
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


def test_a_damaged_file_never_arrives_whole(http: httpx.Client, server: Server) -> None:
    short, long = fresh(), fresh(b"a" * 5 * MIB)
    ids = [upload(http, content).json()["id"] for content in (short, long)]
    for content in (short, long):
        name = sha256(content).hexdigest()
        (
            server.service.settings.home / "blobs" / server.service.settings.organisation / name[:2] / name
        ).write_bytes(content[:-1] + b"?")
    assert http.get(f"/v1/files/{ids[0]}/content").status_code == 500
    with pytest.raises(httpx.RemoteProtocolError):
        http.get(f"/v1/files/{ids[1]}/content")
    for id in ids:
        assert http.delete(f"/v1/files/{id}").status_code == 200


def test_a_database_that_is_down_is_503_and_nothing_is_half_accepted(new_home: NewHome) -> None:
    home = new_home("down")
    url = bundled.start(home)
    settings = home.model_copy(
        update={"database_url": type(home).model_validate({"database_url": url}).database_url}
    )
    with serving(settings) as server, httpx.Client(base_url=server.url, timeout=60) as http:
        first = upload(http, fresh()).json()
        bundled.stop(home)
        content = fresh()
        refused = upload(http, content)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert bundled.start(home).rpartition("/")[0] == url.rpartition("/")[0]
        assert [file["id"] for file in http.get("/v1/files").json()["data"]] == [first["id"]]
        assert upload(http, content).status_code == 200


def test_texts_are_embedded_while_everybody_waits_for_a_database_that_does_not_answer(
    settings: Settings,
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = SecretStr(f"postgresql://nobody:x@127.0.0.1:{silent.getsockname()[1]}/none")
        with (
            serving(settings.model_copy(update={"database_url": url})) as server,
            httpx.Client(base_url=server.url, timeout=60, limits=httpx.Limits(max_connections=100)) as http,
            ThreadPoolExecutor(40) as threads,
        ):
            waiting = [threads.submit(http.get, "/v1/files") for _ in range(40)]
            time.sleep(1)
            began = time.monotonic()
            assert (
                http.post("/v1/embeddings", json={"model": MODEL, "input": "a text " * 100}).status_code
                == 200
            )
            assert time.monotonic() - began < 3
            assert not any(one.done() for one in waiting)
            silent.close()
            assert {one.result().status_code for one in waiting} == {503}


def test_a_postgres_that_was_killed_is_back_for_the_next_upload(
    http: httpx.Client, settings: Settings
) -> None:
    kill_postmaster(settings)
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
    bundled.start(home)
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "answers.json")],
        env={**os.environ, "CLUSTER_HOME": str(home.home), "CLUSTER_DATABASE_URL": bundled.url(home)},
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
                    "/v1/embeddings",
                    json={"model": MODEL, "input": [f"{n} {text}" for text in texts]},
                    headers={"x-priority": "bulk"},
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


def test_a_long_file_is_never_in_memory_as_a_whole_and_holds_nobody_up(
    openai_client: OpenAI, http: httpx.Client, tmp_path: Path
) -> None:
    file = tmp_path / "long.txt"
    with file.open("wb") as opened:
        for n in range(200):
            opened.write((b"%07d\n" % n) * (MIB // 8))
    # A process of its own, since this one is the server's.
    client = subprocess.Popen(
        [sys.executable, "-c", SEND, str(openai_client.base_url), str(file)],
        stdout=subprocess.PIPE,
        text=True,
    )
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
