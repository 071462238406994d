"""Workers make the reports that people request, and the due reports of all organisations."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from cluster.analytics.rollups import compute_days
from cluster.blobs import open_blob_store
from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.documents.organisation_deletion import request_deletion
from cluster.jobs import queue
from cluster.jobs.jobs import SYSTEM, Job, JobState, get_job
from cluster.jobs.kinds.inputs import UsageReportInput
from cluster.jobs.kinds.upkeep_kinds import USAGE_REPORTS
from cluster.settings import Settings
from cluster.usage.events import UsageEvent, UsageSource, record_usage
from cluster.usage_reports import lines
from cluster.usage_reports.reports import UsageReport, get_report, list_reports
from cluster.usage_reports.stored_files import read_file
from cluster.usage_reports.submitting import submit_report
from tests.cluster.usage_reports.billed import Billed, new_billed
from tests.data_jobs.running_consumer import consuming
from tests.own_database import own_database
from tests.waiting import until


@pytest.fixture(scope="module")
def own(settings: Settings, database_url: str) -> Iterator[Settings]:
    """Settings with a database of its own, because a job for all organisations would include those of other
    tests.
    """
    with own_database(settings, database_url) as own:
        yield own


@pytest.fixture(scope="module")
def own_pool(own: Settings) -> Iterator[ConnectionPool]:
    pool = open_pool(own, access=OWNER)
    yield pool
    pool.close()


async def no_vectors(*_: Any, **__: Any) -> Any:
    """Fail, because no report needs a vector."""
    raise AssertionError("a report needs no vectors")


def with_usage(pool: ConnectionPool, settings: Settings) -> Billed:
    """A new organisation whose first period has ended, with its grace period, and has usage."""
    billed = new_billed(pool, open_blob_store(settings), billing_day=datetime.now(UTC).day % 28 + 1)
    long_ago = datetime.now(UTC) - timedelta(days=40)
    with billed.opener() as connection:
        connection.execute("UPDATE organisations SET created_at = %s WHERE id = %s", [long_ago, billed.id])
    use(billed, "first", 100, long_ago)
    return billed


def use(billed: Billed, id: str, tokens: int, at: datetime) -> None:
    event = UsageEvent(
        organisation=billed.id, id=id, source=UsageSource.HTTP, model="m", quantity=tokens, at=at
    )
    with billed.opener() as connection:
        record_usage(connection, [event])


def ended(pool: ConnectionPool, organisation: str, id: str) -> Job:
    def read() -> Job:
        with pool.connection() as connection:
            return get_job(connection, organisation, id)

    job: Job = until(read, lambda job: job.state.ended)
    assert job.state == JobState.SUCCEEDED, job.error
    return job


def make_all(pool: ConnectionPool) -> dict[str, Any]:
    """Run the job of the daily schedule, and return its result. A consumer runs."""
    with pool.connection() as connection:
        id = queue.submit(connection, SYSTEM, USAGE_REPORTS, {}).id
    return dict(ended(pool, SYSTEM, id).result or {})


def finals(billed: Billed) -> list[UsageReport]:
    with billed.opener() as connection:
        return list_reports(connection, billed.id, state="final").items


def test_a_request_is_answered_at_once_and_a_worker_makes_the_report(
    own: Settings, own_pool: ConnectionPool
) -> None:
    billed = with_usage(own_pool, own)
    wanted = UsageReportInput(period="current", format="pdf")
    with billed.opener() as connection:
        report = submit_report(connection, billed.id, wanted, grace_days=3)
    assert (report.status, report.state) == ("queued", "draft")
    assert report.job is not None
    with consuming(own, own_pool, embed=no_vectors):
        result = ended(own_pool, billed.id, report.job).result or {}
    with billed.opener() as connection:
        made = get_report(connection, billed.id, report.id)
    assert (made.status, made.csv_sha256) == ("completed", result["csv_sha256"])
    assert read_file(billed.blobs, made, pdf=True).startswith(b"%PDF")


def test_one_job_reports_on_all_organisations_and_a_failure_stops_none(
    own: Settings, own_pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    organisations = sorted((with_usage(own_pool, own) for _ in range(5)), key=lambda one: one.id)
    broken = organisations[2]
    read_content = lines.read_content

    def failing(connection: Any, organisation: str, *arguments: Any, **options: Any) -> Any:
        if organisation == broken.id:
            raise ValueError("a broken organisation")
        return read_content(connection, organisation, *arguments, **options)

    monkeypatch.setattr("cluster.usage_reports.making.read_content", failing)
    with consuming(own, own_pool, embed=no_vectors):
        result = make_all(own_pool)
        assert [failure["organisation"] for failure in result["failures"]] == [broken.id]
        assert "a broken organisation" in result["failures"][0]["error"]
        assert [len(finals(one)) for one in organisations] == [1, 1, 1, 1, 1]
        assert (finals(broken)[0].status, finals(organisations[3])[0].status) == ("failed", "completed")
        monkeypatch.undo()
        assert make_all(own_pool)["failed"] == 0
        assert finals(broken)[0].status == "completed"
        assert make_all(own_pool)["reports"] == 0
    assert {finals(one)[0].events for one in organisations} == {1}


def test_a_deleted_organisation_keeps_its_final_reports_and_gets_a_last_one(
    own: Settings, own_pool: ConnectionPool
) -> None:
    billed = with_usage(own_pool, own)
    with consuming(own, own_pool, embed=no_vectors):
        with billed.opener() as connection:
            wanted = UsageReportInput(period="current", format="csv")
            draft = submit_report(connection, billed.id, wanted, grace_days=3).job
        ended(own_pool, billed.id, str(draft))
        make_all(own_pool)
        (before,) = finals(billed)
        use(billed, "last", 7, datetime.now(UTC) - timedelta(hours=2))
        with billed.opener() as connection:
            job = request_deletion(connection, billed.id, default=own.organisation).id
        result = ended(own_pool, SYSTEM, job).result or {}
    assert (result["kept"]["usage_reports"], result["remaining"].get("usage_reports")) == (1, None)
    data = read_file(billed.blobs, before, pdf=False)
    later = datetime.now(UTC) + timedelta(days=70)
    maker = replace(billed.maker, roll_up=partial(compute_days, own_pool))
    made = list(maker.make_due(billed.id, later))
    assert [(report.state, report.events) for report in made] == [("final", 1)]
    assert finals(billed)[1] == before
    assert read_file(billed.blobs, before, pdf=False) == data


def test_a_killed_command_continues_and_makes_each_final_report_once(
    own: Settings, own_pool: ConnectionPool, database_url: str
) -> None:
    organisations = [with_usage(own_pool, own) for _ in range(12)]
    command = [sys.executable, "-m", "data_jobs.usage_report", "--all"]
    environment = {
        "CLUSTER_DATABASE_URL": str(own.database_url.get_secret_value()),
        "CLUSTER_HOME": str(own.home),
    }
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        printed = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.kill()
    done = {line["id"] + line["organisation"]: line["csv_sha256"] for line in printed}
    assert len(done) == 3
    with consuming(own, own_pool, embed=no_vectors):
        result = make_all(own_pool)
    assert result["failed"] == 0
    assert 0 < result["reports"] <= 2 * len(organisations) - len(done)
    for billed in organisations:
        (final,) = finals(billed)
        assert (final.status, final.events) == ("completed", 1)
        assert done.get(final.id + billed.id, final.csv_sha256) == final.csv_sha256
        assert final.period_end <= date.today() - timedelta(days=3)
