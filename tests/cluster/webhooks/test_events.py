"""The end of work and its event are in one transaction. An event is recorded only for endpoints that
subscribe to it.
"""

import re
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database.paging import FIRST_PAGE
from cluster.documents.vector_stores.attaching import attach
from cluster.documents.vector_stores.store_files import FileStatus, get_store_file, record_status
from cluster.documents.vector_stores.stores import VectorStore
from cluster.jobs import attempts, queue
from cluster.jobs.attempts import begin_command, end_lost, finish
from cluster.jobs.jobs import Job
from cluster.jobs.kinds import COPY_STORE, IMPORT_EVENTS, INDEX_FILE, INGEST
from cluster.jobs.kinds.job_kind import JobKind
from cluster.jobs.queue import JobRequest
from cluster.webhooks.deliveries import list_deliveries, record_event
from cluster.webhooks.endpoints import EndpointChanges, change_endpoint
from cluster.webhooks.event_types import EVENT_TYPES
from tests.cluster.webhooks.conftest import NewEndpointId
from tests.conftest import ROOT, new_organisation
from tests.indexed_files import fail, make_files


def events(connection: Connection[Any], organisation: str, endpoint: str) -> list[tuple[str, dict[str, Any]]]:
    """Return type and data of each event that is delivered to the endpoint."""
    log = list_deliveries(connection, organisation, endpoint, FIRST_PAGE)
    return [(one.type, one.data) for one in log.items]


def running(connection: Connection[Any], organisation: str) -> Job:
    return begin_command(connection, organisation, JobRequest(kind=INGEST, input={}), worker="test")


def test_each_end_of_a_job_is_an_event(
    connection: Connection[Any], organisation: str, new_endpoint: NewEndpointId
) -> None:
    endpoint = new_endpoint(types=[type for type in EVENT_TYPES if type.startswith("job.")])
    succeeded, failed, lost = (running(connection, organisation) for _ in range(3))
    finish(connection, succeeded, result=None)
    connection.execute("UPDATE jobs SET last_attempt = 3 WHERE id = %s", [failed.id])
    attempts.fail(connection, failed, "a wrong file", code="corrupt")
    end_lost(connection, queue.lock_job(connection, organisation, lost.id), error="its worker died")
    queued = [queue.submit(connection, organisation, INDEX_FILE, {}).id for _ in range(2)]
    queue.cancel(connection, organisation, queued[0])
    queue.cancel_many(connection, organisation, queued)

    by_type = [(type, data["id"]) for type, data in events(connection, organisation, endpoint)]
    assert sorted(by_type) == sorted(
        [
            ("job.succeeded", succeeded.id),
            ("job.failed", failed.id),
            ("job.failed", lost.id),
            ("job.dead_lettered", lost.id),
            ("job.cancelled", queued[0]),
            ("job.cancelled", queued[1]),
        ]
    )


def test_ends_of_bulk_work_and_failures_of_schedules_are_events_of_their_own(
    connection: Connection[Any], organisation: str, new_endpoint: NewEndpointId
) -> None:
    own = ("ingest.", "vector_store.copy.", "event_import.", "schedule.")
    endpoint = new_endpoint(types=[type for type in EVENT_TYPES if type.startswith(own)])

    def begun(kind: JobKind) -> Job:
        request = JobRequest(kind=kind, input={}, subject="s")
        return begin_command(connection, organisation, request, worker="test")

    ingest, copy, events_import = begun(INGEST), begun(COPY_STORE), begun(IMPORT_EVENTS)
    finish(connection, ingest, result=None)
    attempts.fail(connection, copy, "the index is full", code="refused")
    attempts.end_cancelled(connection, events_import)
    by_schedule = begun(INDEX_FILE)
    connection.execute("UPDATE jobs SET schedule = 'sched_1' WHERE id = %s", [by_schedule.id])
    attempts.fail(connection, by_schedule, "a wrong file", code="corrupt")

    assert sorted(events(connection, organisation, endpoint), key=lambda event: event[0]) == [
        ("event_import.cancelled", {"id": events_import.id}),
        ("ingest.completed", {"id": ingest.id, "vector_store_id": "s"}),
        ("schedule.failed", {"id": "sched_1", "job_id": by_schedule.id}),
        ("vector_store.copy.failed", {"id": copy.id, "vector_store_id": "s"}),
    ]


def test_each_end_of_an_attached_file_is_an_event(
    connection: Connection[Any], organisation: str, store: VectorStore, new_endpoint: NewEndpointId
) -> None:
    types = ["vector_store.file.completed", "vector_store.file.failed"]
    endpoint = new_endpoint(types=types)
    files = make_files(connection, organisation, 3)
    for file in files:
        attach(connection, store, file)
    fail(connection, store, files[0], "corrupt", "it is damaged")
    for file in files[1:]:
        job = get_store_file(connection, organisation, store.id, file).job
        status = FileStatus.COMPLETED if file == files[1] else FileStatus.CANCELLED
        record_status(connection, organisation, store.id, file, job, status=status)

    seen = dict(events(connection, organisation, endpoint))
    assert seen == {
        "vector_store.file.completed": {"id": files[1], "vector_store_id": store.id},
        "vector_store.file.failed": {"id": files[0], "vector_store_id": store.id},
    }


def test_an_attempt_that_is_repeated_is_no_event(
    connection: Connection[Any], organisation: str, new_endpoint: NewEndpointId
) -> None:
    endpoint, job = new_endpoint(), running(connection, organisation)
    attempts.retry_later(connection, job, run_at=None, error="not now", code="unavailable")
    assert events(connection, organisation, endpoint) == []


@pytest.mark.parametrize("status", ["completed", "failed", "expired", "cancelled"])
def test_each_end_of_a_batch_is_an_event(
    status: str, connection: Connection[Any], organisation: str, new_endpoint: NewEndpointId
) -> None:
    endpoint = new_endpoint()
    connection.execute(
        "INSERT INTO batches (organisation, id, endpoint, input_file, input_sha256, completion_window, job,"
        " expires_at) VALUES (%s, 'batch_1', '/v1/embeddings', 'f', 'h', '24h', 'j', now())",
        [organisation],
    )
    for next in ("in_progress", "finalizing", status, status):
        connection.execute("UPDATE batches SET status = %s WHERE organisation = %s", [next, organisation])

    assert events(connection, organisation, endpoint) == [(f"batch.{status}", {"id": "batch_1"})]


def test_an_event_is_lost_with_the_transaction_of_its_work(
    connection: Connection[Any], organisation: str, new_endpoint: NewEndpointId
) -> None:
    endpoint, job = new_endpoint(types=["job.succeeded"]), running(connection, organisation)
    with connection.transaction(force_rollback=True):
        finish(connection, job, result=None)
        assert len(events(connection, organisation, endpoint)) == 1
    assert events(connection, organisation, endpoint) == []


def test_without_a_subscription_nothing_is_written(
    connection: Connection[Any], pool: ConnectionPool, organisation: str, new_endpoint: NewEndpointId
) -> None:
    new_endpoint("https://a.example/", ["batch.completed"])
    off = new_endpoint("https://b.example/", ["job.succeeded"])
    with connection.transaction():
        change_endpoint(connection, organisation, off, EndpointChanges(enabled=False))
    new_endpoint("https://c.example/", owner=new_organisation(pool))

    finish(connection, running(connection, organisation), result=None)

    assert record_event(connection, organisation, "job.succeeded", {"id": "job_1"}) is None
    rows = connection.execute("SELECT count(*) FROM webhook_events WHERE organisation = %s", [organisation])
    assert rows.fetchone() == (0,)


def test_one_event_has_a_delivery_for_each_endpoint_that_subscribes(
    connection: Connection[Any], organisation: str, new_endpoint: NewEndpointId
) -> None:
    both = [new_endpoint(f"https://{name}.example/", ["job.failed"]) for name in "ab"]
    id = record_event(connection, organisation, "job.failed", {"id": "job_1"})

    logs = [list_deliveries(connection, organisation, endpoint, FIRST_PAGE).items for endpoint in both]
    assert [[one.event for one in log] for log in logs] == [[id], [id]]


def test_the_triggers_know_no_type_that_the_table_lacks() -> None:
    sql = (ROOT / "cluster/database/migrations/0020_webhooks.sql").read_text()
    names = set(re.findall(r"'((?:job|batch|vector_store\.file)\.[a-z_]*)'", sql))
    parts = {name for name in names if name.endswith(".")}
    ends = {"job.": r"NEW.state IN \((.*)\)", "batch.": r"NEW.status IN \(('completed', .*'expired'.*)\)"}
    ends["vector_store.file."] = r"NEW.status IN \(('completed', 'failed')\)"
    for part in parts:
        found = re.search(ends[part], sql)
        assert found is not None
        names |= {part + end for end in re.findall(r"'(\w+)'", found[1])}
    of_kinds = (ROOT / "cluster/database/migrations/0029_webhook_events_of_kinds.sql").read_text()
    nouns = set(re.findall(r"WHEN '\w+' THEN '([a-z_.]+)'", of_kinds)) - {"completed"}
    names |= {f"{noun}.{end}" for noun in nouns for end in ("completed", "failed", "cancelled")}
    by_triggers = tuple({name.partition(".")[0] for name in names})
    assert names - parts == {type for type in EVENT_TYPES if type.startswith(by_triggers)}


def test_an_unknown_type_is_refused(connection: Connection[Any], organisation: str) -> None:
    with pytest.raises(AssertionError, match="no report"):
        record_event(connection, organisation, "report.completed", {"id": "report_1"})
