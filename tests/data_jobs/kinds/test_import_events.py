"""The job that imports a file of events stores or names every row, once. tests/faults kills its worker."""

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.blobs import open_blob_store
from cluster.command import EXIT_FAILED, EXIT_USAGE
from cluster.database import bundled
from cluster.documents.files import create_file, get_file
from cluster.errors import InvalidInput
from cluster.jobs import queue
from cluster.jobs.jobs import Job, JobState, get_job
from cluster.jobs.kinds import IMPORT_EVENTS
from cluster.jobs.kinds.inputs import ImportEventsInput
from cluster.organisations.organisations import StorageLimits
from cluster.platform_data.erasure import erase_customer
from cluster.platform_data.ids import row_id
from cluster.settings import Settings
from cluster.submissions import AskedJob, accept
from data_jobs.import_events import main
from data_jobs.platform_data.invented_platform import InventedPlatformOptions, invent
from data_jobs.platform_data.sent_events import sent_events, truth
from data_jobs.stages.events.event_files import UnreadableRow, rows_of
from data_jobs.watching import EXIT_SOME_FAILED
from tests.data_jobs.running_consumer import consuming
from tests.waiting import until

Event = dict[str, Any]


@pytest.fixture(scope="module")
def brief(settings: Settings) -> Settings:
    """Settings in which the jobs of a dead worker are soon given to another worker."""
    return settings.model_copy(update={"lease_s": 2.0})


@pytest.fixture(scope="module")
def worker(brief: Settings, pool: ConnectionPool) -> Iterator[None]:
    with consuming(brief, pool, embed=no_vectors):
        yield


async def no_vectors(*_: Any, **__: Any) -> Any:
    """Fail, because no job here needs a vector."""
    raise AssertionError("an import needs no vectors")


def submitted(settings: Settings, pool: ConnectionPool, owner: str, data: bytes, **input: Any) -> str:
    """Store the file, submit the job, and return its id."""
    with open_blob_store(settings).writer(owner) as writer:
        writer.write(data)
        blob = writer.commit()
    with pool.connection() as connection:
        limits = StorageLimits()
        file = create_file(
            connection, owner, "events", "user_data", blob, "text/plain", default_limits=limits
        )
        asked = AskedJob(
            organisation=owner,
            input=ImportEventsInput(file_id=file.id, **input),
            default_limits=limits,
        )
        return accept(connection, IMPORT_EVENTS, asked).id


def imported(settings: Settings, pool: ConnectionPool, owner: str, data: bytes, **input: Any) -> Job:
    id = submitted(settings, pool, owner, data, **input)
    return ended(pool, owner, id)


def ended(pool: ConnectionPool, owner: str, id: str) -> Job:
    def read() -> Job:
        with pool.connection() as connection:
            return get_job(connection, owner, id)

    job: Job = until(read, lambda job: job.state.ended)
    return job


def as_lines(events: list[Event]) -> bytes:
    return b"\n\n".join(map(orjson.dumps, events))


def flat(events: list[Event]) -> list[Event]:
    return [{**event, "data": json.dumps(event["data"])} for event in events]


def as_csv(events: list[Event]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, [*events[0], "colour"])
    writer.writeheader()
    writer.writerows(flat(events))
    return text.getvalue().encode()


def as_parquet(events: list[Event]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{**one, "colour": 1} for one in flat(events)]), file)
    return file.getvalue()


def counts(job: Job) -> tuple[int, ...]:
    result = job.result or {}
    return tuple(result[name] for name in ("rows", "accepted", "duplicates", "failed"))


def stored_types(connection: Connection[Any], owner: str) -> dict[str, int]:
    return dict(
        connection.execute(
            "SELECT type, count(*) FROM customer_events WHERE organisation = %s GROUP BY type", [owner]
        ).fetchall()
    )


def lines_of_errors(settings: Settings, pool: ConnectionPool, owner: str, job: Job) -> list[Event]:
    with pool.connection() as connection:
        file = get_file(connection, owner, (job.result or {})["error_file"])
    assert file.filename == f"{job.id}_errors.jsonl"
    return [json.loads(line) for line in open_blob_store(settings).read(owner, file.sha256).splitlines()]


def done(connection: Connection[Any], id: str) -> int:
    """Number of the last row that the job has recorded."""
    row = connection.execute("SELECT position FROM bulk_inserts WHERE job = %s", [id]).fetchone()
    return 0 if row is None else int(row[0])


@pytest.mark.parametrize(("write", "lines"), [(as_lines, 2), (as_csv, 1), (as_parquet, 1)])
def test_every_row_of_each_format_is_stored_counted_or_named(
    brief: Settings,
    pool: ConnectionPool,
    connection: Connection[Any],
    organisation: str,
    worker: None,
    write: Callable[[list[Event]], bytes],
    lines: int,
) -> None:
    platform = invent(InventedPlatformOptions(seed=4, events=300, duplicates=10))
    events, true = list(sent_events(platform)), truth(platform)
    events.insert(7, {**events[0], "id": "x", "time": "2026-01-01"})
    rated = {"id": "y", "type": "conversation.rated", "data": {"conversation_id": "c", "rating": 9}}
    events.insert(50, {**events[0], **rated})
    events.insert(100, {**events[0], "id": None})
    job = imported(brief, pool, organisation, write(events))
    assert job.state == JobState.SUCCEEDED, job.error
    assert counts(job) == (true["sent"] + 3, true["events"], true["duplicates"], 3)
    assert (job.done, job.total, job.unit) == (true["sent"] + 3, true["sent"] + 3, "rows")
    assert stored_types(connection, organisation) == {name: n for name, n in true["types"].items() if n}
    assert [
        (line["row"], line["id"], line["field"]) for line in lines_of_errors(brief, pool, organisation, job)
    ] == [(lines * 7 + 1, "x", "time"), (lines * 50 + 1, "y", "data.rating"), (lines * 100 + 1, None, "id")]
    assert (job.result or {})["ignored_columns"] == ([] if write is as_lines else ["colour"])


def test_more_wrong_rows_than_permitted_end_the_job_and_a_corrected_file_adds_the_rest(
    brief: Settings, pool: ConnectionPool, connection: Connection[Any], organisation: str, worker: None
) -> None:
    events = [
        {"id": f"{number}", "type": "visit", "time": "2026-01-01T00:00:00Z", "subject": "c"}
        for number in range(60)
    ]
    wrong = [{**event, "time": None} if number < 30 else event for number, event in enumerate(events)]
    job = imported(brief, pool, organisation, as_lines(wrong), source="/shop", max_failed_rows=29)
    assert (job.state, job.error_code) == (JobState.FAILED, "too_many_failed_rows")
    assert "30 of the first 60 rows are wrong, and max_failed_rows is 29" in (job.error or "")
    assert (counts(job), (job.result or {})["max_failed_rows"]) == ((60, 30, 0, 30), 29)
    assert len(lines_of_errors(brief, pool, organisation, job)) == 30
    job = imported(brief, pool, organisation, as_lines(events), source="/shop", max_failed_rows=0)
    assert (job.state, counts(job)) == (JobState.SUCCEEDED, (60, 30, 30, 0))


def test_rows_of_an_erased_customer_are_refused(
    brief: Settings, pool: ConnectionPool, connection: Connection[Any], organisation: str, worker: None
) -> None:
    event = {"id": "1", "source": "/shop", "type": "visit", "time": "2026-01-01T00:00:00Z", "subject": "c"}
    data = as_lines([event, {**event, "id": "2", "subject": "other"}])
    assert counts(imported(brief, pool, organisation, data)) == (2, 2, 0, 0)
    with connection.transaction():
        erase_customer(connection, organisation, row_id("cust", organisation, "c"))
    job = imported(brief, pool, organisation, data)
    assert counts(job) == (2, 0, 1, 1)
    (line,) = lines_of_errors(brief, pool, organisation, job)
    assert (line["row"], line["field"]) == (1, "subject")
    assert stored_types(connection, organisation) == {"visit": 1}


def test_a_cancelled_import_keeps_the_rows_that_it_has_counted(
    brief: Settings, pool: ConnectionPool, connection: Connection[Any], organisation: str, worker: None
) -> None:
    platform = invent(InventedPlatformOptions(seed=8, events=20_000, duplicates=0))
    id = submitted(brief, pool, organisation, as_lines(list(sent_events(platform))))
    until(lambda: done(connection, id), bool)
    with pool.connection() as other:
        queue.cancel(other, organisation, id)
    job = ended(pool, organisation, id)
    assert job.state == JobState.CANCELLED
    row = connection.execute("SELECT counts ->> 'accepted' FROM bulk_inserts WHERE job = %s", [id]).fetchone()
    assert row is not None
    assert 0 < int(row[0]) == sum(stored_types(connection, organisation).values()) < 20_000


def test_the_command_stores_the_file_and_shows_the_end_of_the_job(
    brief: Settings,
    organisation: str,
    worker: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLUSTER_DATABASE_URL", bundled.url(brief))
    monkeypatch.setenv("CLUSTER_HOME", str(brief.home))
    file = tmp_path / "visits.csv"
    file.write_text("id,type,time\n1,visit,2026-01-01T00:00:00Z\n2,visit,\n")
    options = ["--organisation", organisation, "--source", "/shop"]
    assert main([str(file), *options]) == EXIT_SOME_FAILED
    printed = json.loads(capsys.readouterr().out)
    assert (printed["state"], printed["accepted"], printed["failed"]) == ("succeeded", 1, 1)
    assert main(["--file-id", printed["file"], *options, "--max-failed-rows", "0"]) == EXIT_FAILED
    again = json.loads(capsys.readouterr().out)
    assert (again["state"], again["duplicates"], again["failed"]) == ("failed", 1, 1)
    os.mkfifo(tmp_path / "pipe")
    for wrong in (["--max-failed-rows", "-1", str(file)], [str(tmp_path / "pipe")], ["--file-id", "file-0"]):
        assert main([*options, *wrong]) == EXIT_USAGE


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"PAR1 and nothing", "cannot be read as Parquet"),
        (b"id,typ,time\n", "no column 'type'; it has id, typ, time"),
        (b"id,type,time,id\n", "two columns 'id'"),
        (b"", "no column 'id'; it has no columns"),
        (b'id,type,time\n1,"' + b"x" * 9_000_000, "row 1 of the file has a field of more than 8,388,608"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(reason)):
        list(rows_of(io.BytesIO(data)).parts)


def test_a_row_that_cannot_be_read_costs_only_that_row() -> None:
    lines = b'{"id": 1}\n{"id": \n' + b"[" + b"x" * 9_000_000 + b"]\n7\n"
    ((first, second, third, fourth),) = rows_of(io.BytesIO(lines)).parts
    assert (first, fourth) == ((1, {"id": 1}), (4, 7))
    assert (second[0], third[0]) == (2, 3)
    assert "is not JSON" in second[1]
    assert third[1] == UnreadableRow("the line has more than 8,388,608 bytes")
    table = b'id,type,time,data\n1,a,t,{}\n2,a\n"3"x,a,t,\n4,a,t,{\n\n5,a,t,\n'
    (rows,) = rows_of(io.BytesIO(table)).parts
    assert rows[0] == (1, {"id": "1", "type": "a", "time": "t", "data": {}})
    assert [type(value) for _, value in rows[1:4]] == [UnreadableRow] * 3
    assert rows[4] == (5, {"id": "5", "type": "a", "time": "t"})
