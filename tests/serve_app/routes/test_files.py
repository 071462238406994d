"""/v1/files, for OpenAI's unmodified client and for malformed requests."""

import gzip
import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from psycopg_pool import ConnectionPool

from tests.openai_contract import complaints
from tests.serve_app.conftest import Server
from tests.serve_app.raw_requests import (
    FILE,
    PURPOSE,
    TEXT,
    blob_exists,
    new_bytes,
    raw_form,
    unfinished_blobs,
    upload,
)

LINE = b'{"custom_id": "1", "body": {}}\n'


def test_the_client_uploads_lists_reads_and_deletes(openai_client: OpenAI, server: Server) -> None:
    content, began = new_bytes(), time.time()
    made = openai_client.files.create(file=('größe "1".txt', content), purpose="assistants")
    assert (made.filename.startswith("größe"), made.bytes, made.purpose, made.status) == (
        True,
        len(content),
        "assistants",
        "processed",
    )
    assert began - 1 < made.created_at < time.time() + 1
    assert made.expires_at is None
    assert openai_client.files.retrieve(made.id) == made
    assert openai_client.files.list(limit=1).data == [made]
    assert openai_client.files.content(made.id).read() == content
    assert openai_client.files.delete(made.id).deleted
    with pytest.raises(NotFoundError):
        openai_client.files.retrieve(made.id)
    with pytest.raises(NotFoundError):
        openai_client.files.delete(made.id)
    assert not blob_exists(server, content)


def test_every_answer_is_as_openai_describes_it(http: httpx.Client) -> None:
    made = upload(
        http, new_bytes(), **{"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    ).json()
    assert complaints("OpenAIFile", made) == []
    assert complaints("OpenAIFile", http.get(f"/v1/files/{made['id']}").json()) == []
    assert complaints("ListFilesResponse", http.get("/v1/files").json()) == []
    assert complaints("ListFilesResponse", http.get("/v1/files", params={"purpose": "nothing"}).json()) == []
    assert complaints("DeleteFileResponse", http.delete(f"/v1/files/{made['id']}").json()) == []
    for refused in (http.get("/v1/files/file-none"), upload(http, b""), upload(http, TEXT, purpose="fun")):
        assert complaints("ErrorResponse", refused.json()) == []


def test_a_list_can_be_read_by_page_while_its_files_are_deleted(openai_client: OpenAI) -> None:
    made = [
        openai_client.files.create(file=("p.jsonl", new_bytes(LINE)), purpose="fine-tune").id
        for _ in range(7)
    ]
    seen = []
    for file in openai_client.files.list(purpose="fine-tune", limit=2, order="asc"):
        seen.append(file.id)
        openai_client.files.delete(file.id)
    assert seen == made
    assert openai_client.files.list(purpose="fine-tune").data == []


def test_a_repeated_upload_gives_the_same_file(http: httpx.Client) -> None:
    content = new_bytes()
    first, again, renamed = (
        upload(http, content).json(),
        upload(http, content).json(),
        upload(http, content, "other.txt").json(),
    )
    assert again == first
    assert renamed["id"] != first["id"]
    assert http.delete(f"/v1/files/{first['id']}").status_code == 200
    assert http.get(f"/v1/files/{renamed['id']}/content").content == content


def test_concurrent_equal_uploads_give_one_file(http: httpx.Client) -> None:
    for _ in range(5):
        content = new_bytes()
        with ThreadPoolExecutor(6) as threads:
            answers = list(
                threads.map(lambda _, content=content: upload(http, content).json()["id"], range(6))
            )
        assert len(set(answers)) == 1


def test_deleting_and_uploading_the_same_bytes_at_once_loses_no_file(http: httpx.Client) -> None:
    """Every file that got 200 and was not deleted can be read."""
    content = new_bytes()

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


def test_a_file_expires_as_requested(openai_client: OpenAI, http: httpx.Client) -> None:
    made = openai_client.files.create(
        file=("a.txt", new_bytes()),
        purpose="user_data",
        expires_after={"anchor": "created_at", "seconds": 7200},
    )
    assert made.expires_at == made.created_at + 7200
    batch = openai_client.files.create(file=("a.jsonl", new_bytes(LINE)), purpose="batch")
    assert batch.expires_at == batch.created_at + 30 * 24 * 3600
    for fields in (
        {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3599"},
        {"expires_after[anchor]": "created_at", "expires_after[seconds]": "2592001"},
        {"expires_after[anchor]": "last_active_at", "expires_after[seconds]": "3600"},
        {"expires_after[anchor]": "created_at"},
        {"expires_after[seconds]": "3600"},
    ):
        refused = upload(http, new_bytes(), **fields)
        assert refused.status_code == 400
        assert "expires_after" in refused.json()["error"]["message"]


def test_an_upload_can_attach_its_file_to_a_store(
    openai_client: OpenAI, http: httpx.Client, pool: ConnectionPool, server: Server
) -> None:
    store = openai_client.vector_stores.create(name="at once")
    made = openai_client.files.create(
        file=("a.txt", new_bytes()),
        purpose="assistants",
        extra_body={"vector_store_id": store.id, "priority": "high"},
    )
    assert made.model_extra is not None
    assert (made.model_extra["priority_class"], made.model_extra["priority"]) == ("high", 5)
    with pool.connection() as connection:
        attached = connection.execute(
            "SELECT job FROM vector_store_files WHERE file = %s", [made.id]
        ).fetchall()
        job = connection.execute(
            "SELECT state, priority_class, subject FROM jobs WHERE id = %s", [made.model_extra["job_id"]]
        ).fetchall()
    assert attached == [(made.model_extra["job_id"],)]
    assert job == [("queued", "high", made.id)]
    content = new_bytes()
    assert upload(http, content, vector_store_id="vs_none").status_code == 404
    assert not blob_exists(server, content)
    for priority in ("urgent", "10", "-1", ""):
        for refused in (
            upload(http, new_bytes(), priority=priority),
            http.post("/upload", files={"file": ("a.txt", TEXT)}, data={"priority": priority}),
        ):
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, "priority")
            assert "high, medium or low, or a number from 0 to 9" in refused.json()["error"]["message"]
    openai_client.files.delete(made.id)
    with pool.connection() as connection:
        assert (
            connection.execute("SELECT FROM vector_store_files WHERE file = %s", [made.id]).fetchall() == []
        )
        assert connection.execute(
            "SELECT state FROM jobs WHERE id = %s", [made.model_extra["job_id"]]
        ).fetchall() == [("cancelled",)]


@pytest.mark.parametrize(
    ("content", "name", "purpose", "status"),
    [
        (b"%PDF-1.7 and so on", "a.exe", "assistants", 200),
        (b"<html><p>text", "a.txt", "user_data", 200),
        (b"\x7fELF\x02\x01\x01\x00", "honest.pdf", "assistants", 415),
        (bytes(range(256)), "a.txt", "user_data", 415),
        (b"PK\x03\x04", "a.docx", "assistants", 200),
        (b"!<arch>\n", "a.docx", "assistants", 415),
        (b'\xef\xbb\xbf {"a": 1}\n', "a.jsonl", "batch", 200),
        (b"custom_id,body\n", "a.jsonl", "batch", 415),
        (b"%PDF-1.7", "a.jsonl", "fine-tune", 415),
        (b"\x89PNG\r\n\x1a\n", "a.png", "vision", 200),
        (TEXT, "a.png", "vision", 415),
        (LINE, "a.jsonl", "evals", 200),
    ],
)
def test_an_unsupported_type_is_refused_by_its_bytes(
    http: httpx.Client, server: Server, content: bytes, name: str, purpose: str, status: int
) -> None:
    content = new_bytes(content)
    answer = upload(http, content, name, purpose=purpose)
    assert answer.status_code == status, answer.text
    assert blob_exists(server, content) == (status == 200)
    if status == 415:
        assert answer.json()["error"]["code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    ("parts", "status", "complaint"),
    [
        ([PURPOSE, FILE], 200, ""),
        ([PURPOSE, "content-type: text/plain\r\n" + FILE], 200, ""),
        ([FILE], 400, "purpose"),
        ([PURPOSE, PURPOSE, FILE], 400, "twice"),
        ([FILE, PURPOSE, FILE], 400, "twice"),
        ([PURPOSE.replace("assistants", "fun"), FILE], 400, "purpose"),
        ([PURPOSE.replace("assistants", "a" * 9_000), FILE], 400, "is over 8,192 bytes"),
        (["content-disposition: form-data\r\n\r\nred", FILE], 400, "no name"),
        ([PURPOSE, FILE.replace('; filename="a.txt"', "")], 400, "must be a file"),
        ([PURPOSE, FILE.replace("a.txt", "")], 400, "name"),
        ([PURPOSE, FILE.replace("a.txt", "a" * 300)], 400, "255"),
        ([PURPOSE, FILE.replace("a.txt", "a\x01b")], 400, "control character U+0001"),
        ([PURPOSE, "x-long: " + "a" * 20_000 + "\r\n" + FILE], 400, "not valid multipart"),
        ([*[PURPOSE.replace("purpose", f"f{n}") for n in range(70)], FILE], 400, "over 64 parts"),
        ([PURPOSE, PURPOSE], 400, "twice"),
    ],
)
def test_forms_in_any_order_are_read_and_malformed_ones_refused(
    http: httpx.Client, server: Server, parts: list[str], status: int, complaint: str
) -> None:
    body, headers = raw_form(new_bytes(), *parts)
    answer = http.post("/v1/files", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert complaint in answer.json()["error"]["message"]
    assert unfinished_blobs(server) == []


def test_a_character_may_arrive_in_two_pieces(http: httpx.Client) -> None:
    store = 'content-disposition: form-data; name="vector_store_id"\r\n\r\nBücher'
    body, headers = raw_form(new_bytes(), PURPOSE, store, FILE)
    middle = body.index("ü".encode()) + 1

    def pieces() -> Iterator[bytes]:
        yield body[:middle]
        time.sleep(0.1)
        yield body[middle:]

    answer = http.post("/v1/files", content=pieces(), headers=headers)
    assert (answer.status_code, "Bücher" in answer.json()["error"]["message"]) == (404, True), answer.text


@pytest.mark.parametrize("name", ["../../etc/passwd.txt", "C:\\Users\\me\\passwd.txt", "/passwd.txt"])
def test_a_file_name_loses_its_path_and_cannot_inject_a_header(http: httpx.Client, name: str) -> None:
    body, headers = raw_form(new_bytes(), PURPOSE, FILE.replace("a.txt", name.replace("\\", "\\\\")))
    made = http.post("/v1/files", content=body, headers=headers).json()
    assert made["filename"] == "passwd.txt"
    odd = upload(http, new_bytes(), "a\"; filename=b.html;'ü.txt").json()
    answer = http.get(f"/v1/files/{odd['id']}/content")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    said = answer.headers["content-disposition"]
    assert said.startswith("attachment; filename*=UTF-8''")
    assert not set(said.removeprefix("attachment; ")) & set('"; \r\n')


def test_a_body_that_is_not_a_whole_form_is_refused(http: httpx.Client, server: Server) -> None:
    body, headers = raw_form(new_bytes(), PURPOSE, FILE)
    assert http.post("/v1/files", json={"purpose": "assistants"}).status_code == 415
    assert (
        http.post("/v1/files", content=body, headers={"content-type": "multipart/form-data"}).status_code
        == 400
    )
    assert http.post("/v1/files", content=body[:-4], headers=headers).status_code == 400
    assert http.post("/v1/files", content=b"x" + body, headers=headers).status_code == 400
    assert http.post("/v1/files", content=b"", headers=headers).status_code == 400
    assert (
        http.post(
            "/v1/files", content=gzip.compress(body), headers={**headers, "content-encoding": "gzip"}
        ).status_code
        == 415
    )
    assert unfinished_blobs(server) == []


def test_another_organisation_does_not_see_the_file(small: Server, openai_client: OpenAI) -> None:
    made = openai_client.files.create(file=io.BytesIO(new_bytes()), purpose="user_data")
    with OpenAI(base_url=f"{small.url}/v1", api_key="none", max_retries=0) as stranger:
        for ask in (stranger.files.retrieve, stranger.files.content, stranger.files.delete):
            with pytest.raises(NotFoundError):
                ask(made.id)
        assert made.id not in [file.id for file in stranger.files.list()]
    with pytest.raises(BadRequestError):
        openai_client.files.retrieve("file-\0")
