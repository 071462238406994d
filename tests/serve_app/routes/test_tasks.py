"""The paths that existing callers know: upload a file, ask how far its task is."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from openai import OpenAI
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.documents.vector_stores.store_files import FileStatus
from cluster.jobs import attempts, progress, queue
from cluster.jobs.jobs import JobState, PriorityClass, get_job
from cluster.settings import Settings
from tests.cluster.jobs import turns
from tests.cluster.jobs.turns import TEST
from tests.conftest import new_organisation
from tests.serve_app.conftest import Server, serving
from tests.waiting import LONGEST_WAIT_S


@pytest.fixture(scope="module")
def own(pool: ConnectionPool) -> str:
    """The organisation that the server of this module acts for."""
    return new_organisation(pool)


@pytest.fixture(scope="module")
def tasks_server(settings: Settings, own: str) -> Iterator[Server]:
    with serving(settings.model_copy(update={"organisation": own, "max_file_bytes": 100_000})) as server:
        yield server


@pytest.fixture
def client(tasks_server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=tasks_server.url, timeout=LONGEST_WAIT_S) as client:
        yield client


@pytest.fixture
def connection(pool: ConnectionPool) -> Iterator[Connection[Any]]:
    with pool.connection() as connection:
        connection.autocommit = True
        yield connection
        connection.autocommit = False


def upload(client: httpx.Client, text: str | None = None, **fields: str) -> httpx.Response:
    """As `curl -F file=@notes.txt` sends it."""
    return client.post("/upload", files={"file": ("notes.txt", text or uuid4().hex)}, data=fields)


def task(client: httpx.Client, id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/tasks/{id}").raise_for_status().json()
    return found


def test_an_upload_becomes_a_file_in_a_store_and_a_task(
    client: httpx.Client, tasks_server: Server, connection: Connection[Any], own: str
) -> None:
    accepted = upload(client, "herons stand still").raise_for_status().json()
    assert accepted["status"] == "queued"
    assert task(client, accepted["task_id"]) == {
        "task_id": accepted["task_id"],
        "status": "queued",
        "progress": 0,
        "result": None,
        "error": None,
    }
    with OpenAI(base_url=f"{tasks_server.url}/v1", api_key="none") as openai:
        assert openai.files.content(accepted["file_id"]).text == "herons stand still"
        store = openai.vector_stores.retrieve(accepted["vector_store_id"])
        assert (store.name, store.file_counts.in_progress) == ("uploads", 1)
        attached = openai.vector_stores.files.retrieve(accepted["file_id"], vector_store_id=store.id)
        assert (attached.status, attached.model_extra and attached.model_extra["job_id"]) == (
            FileStatus.IN_PROGRESS,
            accepted["task_id"],
        )
    job = get_job(connection, own, accepted["task_id"])
    assert (job.kind, job.state, job.priority_class) == ("index_file", JobState.QUEUED, PriorityClass.MEDIUM)


def test_store_and_urgency_are_the_caller_s_to_choose(
    client: httpx.Client, connection: Connection[Any], own: str
) -> None:
    first = upload(client, vector_store="birds", priority="high").json()
    second = upload(client, vector_store=first["vector_store_id"], priority="9").json()
    assert second["vector_store_id"] == first["vector_store_id"] != upload(client).json()["vector_store_id"]
    jobs = [get_job(connection, own, one["task_id"]) for one in (first, second)]
    assert [(job.priority_class, job.priority) for job in jobs] == [
        (PriorityClass.HIGH, 5),
        (PriorityClass.MEDIUM, 9),
    ]


def test_the_same_upload_twice_is_one_task(client: httpx.Client) -> None:
    first = upload(client, "sent again, since the answer was lost").json()
    assert upload(client, "sent again, since the answer was lost").json() == first


def test_a_task_tells_how_far_it_is_and_what_came_of_it(
    client: httpx.Client, connection: Connection[Any], own: str
) -> None:
    connection.execute(
        "UPDATE jobs SET state = 'cancelled', finished_at = now()"
        " WHERE organisation = %s AND finished_at IS NULL",
        [own],
    )
    queue.submit(connection, own, TEST, {}, priority_class=PriorityClass.HIGH)
    job = turns.begin(connection, own)
    progress.record_progress(connection, job, done=1, total=3)
    assert (task(client, job.id)["status"], task(client, job.id)["progress"]) == ("running", 33)
    attempts.finish(connection, job, result={"chunks": 3})
    done = task(client, job.id)
    assert (done["status"], done["progress"], done["result"], done["error"]) == (
        "succeeded",
        100,
        {"chunks": 3},
        None,
    )
    queue.submit(connection, own, TEST, {}, priority_class=PriorityClass.HIGH)
    broken = attempts.fail(
        connection, turns.begin(connection, own), "the file is encrypted", code="invalid_file"
    )
    failed = task(client, broken.id)
    assert (failed["status"], failed["result"], failed["error"]) == ("failed", None, "the file is encrypted")


def test_tasks_of_others_are_not_there(
    client: httpx.Client, connection: Connection[Any], organisation: str
) -> None:
    theirs = queue.submit(connection, organisation, TEST, {})
    for id in (theirs.id, "job_none"):
        response = client.get(f"/tasks/{id}")
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("file", "fields", "status"),
    [
        (None, {}, 400),
        (("notes.txt", b""), {}, 400),
        (("notes.txt", b"a"), {"priority": "now"}, 400),
        (("notes.txt", b"a"), {"priority": "10"}, 400),
        (("notes.txt", b"a"), {"vector_store": ""}, 400),
        (("notes.txt", b"a"), {"vector_store": "vs_" + "0" * 24}, 404),
        (("program", b"\x7fELF" + bytes(100)), {}, 415),
        (("notes.txt", b"a" * 100_001), {}, 413),
    ],
)
def test_what_cannot_be_accepted_is_refused_and_leaves_nothing(
    file: tuple[str, bytes] | None,
    fields: dict[str, str],
    status: int,
    client: httpx.Client,
    connection: Connection[Any],
    own: str,
) -> None:
    def there() -> list[Any]:
        counts = [
            connection.execute(f"SELECT count(*) FROM {table} WHERE organisation = %s", [own]).fetchone()
            for table in ("files", "jobs")
        ]
        return [
            counts,
            connection.execute(
                "SELECT count(*) FROM procrastinate_jobs WHERE args ->> 'organisation' = %s", [own]
            ).fetchone(),
        ]

    before = there()
    parts: Any = {"file": file} if file else {"other": (None, b"x")}
    refused = client.post("/upload", files=parts, data=fields)
    assert (refused.status_code, refused.json()["error"].keys()) == (
        status,
        {"message", "type", "param", "code"},
    )
    assert there() == before
