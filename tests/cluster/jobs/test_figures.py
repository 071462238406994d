"""The figures of all jobs are what their rows say, for metrics and alerts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import Connection

from cluster.analytics.rollups import rollup_lag
from cluster.jobs import attempts, progress
from cluster.jobs.figures import JobFigures, job_figures
from cluster.jobs.kinds import ERASE_CUSTOMER, INGEST
from cluster.jobs.queue import JobRequest, submit
from serve_app.jobs import job_metrics
from serve_app.jobs.job_metrics import JobMetrics


def test_the_figures_count_what_waits_runs_ended_and_failed(
    connection: Connection[Any], organisation: str
) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("DELETE FROM jobs")
        connection.execute("UPDATE organisations SET concurrency_limit = NULL WHERE id = %s", [organisation])
        waiting = submit(connection, organisation, ERASE_CUSTOMER, {})
        connection.execute(
            "UPDATE jobs SET created_at = now() - interval '70 seconds' WHERE id = %s", [waiting.id]
        )
        request = JobRequest(kind=INGEST, input={}, total=2)
        good, bad, _, lost = (
            attempts.begin_command(connection, organisation, request, worker="host-1") for _ in range(4)
        )
        progress.begin_stage(connection, good, "parse")
        connection.execute("UPDATE job_stages SET started_at = now() - interval '4 seconds'")
        progress.end_stage(connection, good, "parse")
        attempts.finish(connection, good, result={})
        attempts.fail(connection, bad, "the disk is full", code="short")
        attempts.end_lost(connection, lost, error="host-1 sent no heartbeat")

        found = job_figures(connection)
        later = job_figures(_with_old_ends(connection))

    assert found.unfinished == {
        ("erase_customer", waiting.priority_class, "queued"): 1,
        ("ingest", good.priority_class, "running"): 1,
    }
    assert 70 <= found.oldest_wait_s[waiting.priority_class] < 100
    assert sum(found.oldest_wait_s.values()) == found.oldest_wait_s[waiting.priority_class]
    assert found.ended == {("ingest", "succeeded"): 1, ("ingest", "failed"): 2}
    assert found.attempts == {("ingest", outcome): 1 for outcome in ("succeeded", "failed", "lost")}
    assert 4 <= found.stage_seconds["ingest", "parse"] < 30
    assert found.dead_letters == later.dead_letters == {"ingest": 2}
    assert later.ended == later.stage_seconds == later.attempts == {}


def _with_old_ends(connection: Connection[Any]) -> Connection[Any]:
    connection.execute("UPDATE jobs SET finished_at = finished_at - interval '20 minutes'")
    return connection


def test_a_passed_hour_is_late_from_its_end_or_its_last_change_on(
    connection: Connection[Any], organisation: str
) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)

    def mark(begin: datetime, marked_at: datetime) -> None:
        connection.execute(
            "INSERT INTO dirty_windows (organisation, about, hour, marked_at) VALUES (%s, 'usage', %s, %s)",
            [organisation, begin, marked_at],
        )

    with connection.transaction(force_rollback=True):
        connection.execute("DELETE FROM dirty_windows")
        mark(hour, hour)  # it has not passed
        assert rollup_lag(connection) == 0
        mark(hour - timedelta(days=9), datetime.now(UTC) - timedelta(seconds=40))  # an event that came late
        assert 39 <= rollup_lag(connection) < 60
        mark(hour - timedelta(hours=3), hour - timedelta(hours=3))
        expected = (datetime.now(UTC) - hour).total_seconds() + 2 * 3_600
        assert abs(rollup_lag(connection) - expected) < 20


def test_a_series_that_has_no_value_any_more_becomes_zero() -> None:
    empty = JobFigures(
        unfinished={}, oldest_wait_s={}, ended={}, attempts={}, dead_letters={}, stage_seconds={}
    )
    first = replace(empty, oldest_wait_s={"high": 2.0}, dead_letters={"crawl": 3})
    answers = [first, None, empty]
    metrics, told = JobMetrics(lambda: answers.pop(0)), dict[tuple[str, ...], float]()
    metrics._dead._gauge = _Gauge(told)

    for expected in ({("crawl",): 3}, {("crawl",): 3}, {("crawl",): 0}):
        metrics._read_at -= job_metrics.PERIOD_S
        metrics.publish()
        assert told == expected
    metrics.publish()  # too early to read again
    assert not answers


class _Gauge:
    def __init__(self, told: dict[tuple[str, ...], float]) -> None:
        self._told = told

    def set(self, value: float, tags: dict[str, str]) -> None:
        self._told[tuple(tags.values())] = value
