"""Jobs as people see them: found by filter and page, with their history, their speed and the reason why they
wait.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database.paging import PageRequest
from cluster.errors import InvalidInput, LeaseLost, NotFound
from cluster.jobs import attempts, progress, queue
from cluster.jobs.jobs import Job, JobState, PriorityClass
from cluster.jobs.kinds.job_kind import JobKind
from cluster.jobs.view import (
    EVENTS_PER_READ,
    JobFilter,
    JobView,
    Watch,
    dead_letters,
    list_jobs,
    read_news,
    view_job,
)
from tests.cluster.jobs import turns
from tests.cluster.jobs.turns import TEST

LEASE_S = 30.0


def submit(connection: Connection[Any], organisation: str, **options: Any) -> Job:
    return queue.submit(connection, organisation, TEST, {"n": 1}, **options)


def view(connection: Connection[Any], organisation: str, id: str, *, in_s: float = 0) -> JobView:
    return view_job(
        connection, organisation, id, now=datetime.now(UTC) + timedelta(seconds=in_s), lease_s=LEASE_S
    )


def fail(connection: Connection[Any], organisation: str, *, code: str = "broken", **options: Any) -> Job:
    submit(connection, organisation, **options)
    return attempts.fail(connection, turns.begin(connection, organisation), "it broke", code=code)


@pytest.fixture
def worker(connection: Connection[Any]) -> Iterator[int]:
    """The only one there is."""
    connection.execute("UPDATE procrastinate_workers SET last_heartbeat = '-infinity'")
    yield turns.register(connection)
    connection.execute("UPDATE procrastinate_workers SET last_heartbeat = '-infinity'")


def test_filters_choose_and_pages_follow_one_another(
    connection: Connection[Any], organisation: str, stranger: str
) -> None:
    low = [
        submit(connection, organisation, priority_class=PriorityClass.LOW, subject="file-1") for _ in range(5)
    ]
    high = submit(connection, organisation, priority_class=PriorityClass.HIGH)
    other = queue.submit(connection, organisation, JobKind(name="other"), {})
    queue.cancel(connection, organisation, high.id)

    def ids(page: PageRequest | None = None, **chosen: Any) -> list[str]:
        return [
            job.id
            for job in list_jobs(connection, organisation, JobFilter(**chosen), page or PageRequest()).items
        ]

    assert ids() == [other.id, high.id, *(job.id for job in reversed(low))]
    assert ids(kind="other") == [other.id]
    assert ids(state=JobState.CANCELLED) == ids(priority_class=PriorityClass.HIGH) == [high.id]
    assert ids(subject="file-1", created_after=low[2].created_at, created_before=low[4].created_at) == [
        low[3].id,
        low[2].id,
    ]
    assert ids(finished_after=low[0].created_at) == [high.id]
    seen, after = [], None
    while True:
        part = list_jobs(
            connection,
            organisation,
            JobFilter(kind="test"),
            PageRequest(limit=2, after=after, newest_first=False),
        )
        seen += [job.id for job in part.items]
        if not part.has_more:
            break
        after = seen[-1]
    assert seen == [*(job.id for job in low), high.id]
    assert list_jobs(connection, stranger, JobFilter(), PageRequest()).items == []
    with pytest.raises(InvalidInput, match="after"):
        list_jobs(connection, stranger, JobFilter(), PageRequest(after=low[0].id))


@pytest.mark.usefixtures("worker")
def test_a_waiting_job_says_behind_whom(connection: Connection[Any], organisation: str) -> None:
    first, second = submit(connection, organisation), submit(connection, organisation)
    urgent = submit(connection, organisation, priority=9)
    submit(connection, organisation, priority_class=PriorityClass.HIGH)
    shown = [view(connection, organisation, job.id) for job in (urgent, first, second)]
    assert [one.position for one in shown] == [1, 2, 3]
    assert [one.waiting and one.waiting.reason for one in shown] == ["worker", "behind", "behind"]
    assert shown[1].waiting
    assert shown[1].waiting.message == "queued behind 1 job of your organisation"
    assert shown[2].waiting
    assert shown[2].waiting.message == "queued behind 2 jobs of your organisation"


def test_without_a_living_worker_it_says_so(
    connection: Connection[Any], organisation: str, worker: int
) -> None:
    job = submit(connection, organisation)
    connection.execute(
        "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '31 s' WHERE id = %s", [worker]
    )
    waiting = view(connection, organisation, job.id).waiting
    assert waiting
    assert (waiting.reason, "doctor" in waiting.message) == ("no_worker", True)


def test_at_its_limit_it_says_how_many_run_already(
    connection: Connection[Any], organisation: str, worker: int
) -> None:
    connection.execute("UPDATE organisations SET concurrency_limit = 2 WHERE id = %s", [organisation])
    for _ in range(2):
        submit(connection, organisation)
        turns.begin(connection, organisation, worker=worker)
    waiting = view(connection, organisation, submit(connection, organisation).id).waiting
    assert waiting
    assert waiting.reason == "organisation_limit"
    assert waiting.message == "your organisation runs its 2 jobs of class medium already; the next in line"


def test_a_job_to_be_tried_again_says_when_and_after_what(
    connection: Connection[Any], organisation: str, worker: int
) -> None:
    submit(connection, organisation)
    job = turns.begin(connection, organisation, worker=worker)
    at = datetime.now(UTC) + timedelta(hours=1)
    attempts.retry_later(connection, job, run_at=at, error="the disk was full", code="unavailable")
    shown = view(connection, organisation, job.id)
    assert shown.waiting
    assert (shown.waiting.reason, shown.waiting.until, shown.position) == ("retry", at, None)
    assert at.isoformat(timespec="seconds") in shown.waiting.message
    assert "the disk was full" in shown.waiting.message
    later = submit(connection, organisation, run_at=at)
    assert (waiting := view(connection, organisation, later.id).waiting)
    assert (waiting.reason, waiting.until) == ("not_before", at)
    assert (waiting := view(connection, organisation, job.id, in_s=3700).waiting)
    assert waiting.reason in {"worker", "behind"}


def test_a_job_whose_stage_pauses_says_until_when_and_why(
    connection: Connection[Any], organisation: str, worker: int
) -> None:
    submit(connection, organisation)
    job = turns.begin(connection, organisation, worker=worker)
    at = datetime.now(UTC) + timedelta(seconds=9)
    for waits_for, reason, words in [
        ("provider", "provider", "provider throttled"),
        ("retry", "retry", "its stage failed"),
    ]:
        progress.begin_stage(connection, job, "embed")
        progress.pause(connection, job, until=at, waits_for=waits_for)
        assert (waiting := view(connection, organisation, job.id).waiting)
        assert (waiting.reason, waiting.until) == (reason, at)
        assert waiting.message == f"{words}; retrying at {at.isoformat(timespec='seconds')}"
    progress.begin_stage(connection, job, "embed")
    assert view(connection, organisation, job.id).waiting is None
    progress.pause(connection, job, until=at, waits_for="retry")
    ended = attempts.end_cancelled(connection, job)
    assert (ended.retry_at, ended.waits_for) == (None, None)
    with pytest.raises(LeaseLost):
        progress.pause(connection, job, until=at, waits_for="retry")


def test_a_job_that_was_throttled_says_so_while_it_stands_back(
    connection: Connection[Any], organisation: str, worker: int
) -> None:
    submit(connection, organisation)
    job = turns.begin(connection, organisation, worker=worker)
    at = datetime.now(UTC) + timedelta(hours=1)
    attempts.retry_later(connection, job, run_at=at, error="ask less", code="throttled")
    assert (waiting := view(connection, organisation, job.id).waiting)
    assert (waiting.reason, waiting.until) == ("provider", at)


@pytest.mark.parametrize(
    ("waits_for", "reason", "words"),
    [("gpu", "gpu", "waiting for the model"), ("tape", "other", "waiting for tape")],
)
def test_a_running_job_says_what_it_waits_for(
    connection: Connection[Any], organisation: str, waits_for: str, reason: str, words: str
) -> None:
    submit(connection, organisation)
    job = turns.begin(connection, organisation)
    progress.begin_stage(connection, job, "embed")
    progress.record_progress(connection, job, done=0, total=9, waits_for=waits_for)
    waiting = view(connection, organisation, job.id).waiting
    assert waiting
    assert (waiting.reason, waiting.message) == (reason, words)
    progress.record_progress(connection, job, done=1, total=9)
    assert view(connection, organisation, job.id).waiting is None


def test_speed_is_the_running_stage_s_own(connection: Connection[Any], organisation: str) -> None:
    queue.submit(connection, organisation, JobKind(name="test", unit="chunks"), {})
    job = turns.begin(connection, organisation)
    connection.execute("UPDATE jobs SET started_at = now() - interval '1 h' WHERE id = %s", [job.id])
    progress.begin_stage(connection, job, "parse")
    assert (speed := view(connection, organisation, job.id).speed)
    assert (speed.rate_per_s, speed.eta_s) == (0, None)
    progress.end_stage(connection, job, "parse")
    progress.begin_stage(connection, job, "embed")
    progress.record_progress(connection, job, done=100, total=400)
    assert (speed := view(connection, organisation, job.id, in_s=10).speed)
    assert speed.rate_per_s == pytest.approx(10, rel=0.1)
    assert speed.eta_s == pytest.approx(30, rel=0.1)
    attempts.finish(connection, job, result={})
    assert view(connection, organisation, job.id).speed is None


def test_history_keeps_every_attempt_with_its_error_and_every_stage_with_its_time(
    connection: Connection[Any], organisation: str
) -> None:
    submit(connection, organisation)
    first = turns.begin(connection, organisation)
    progress.begin_stage(connection, first, "parse")
    progress.end_stage(connection, first, "parse", error="no memory")
    progress.begin_stage(connection, first, "parse")
    attempts.retry_later(connection, first, run_at=None, error="no memory", code="unavailable")
    second = turns.begin(connection, organisation)
    progress.begin_stage(connection, second, "parse")
    progress.end_stage(connection, second, "parse")
    attempts.finish(connection, second, result={"chunks": 3})
    shown = view(connection, organisation, first.id)
    assert [(one.number, one.outcome, one.error) for one in shown.attempts] == [
        (1, "retried", "no memory"),
        (2, "succeeded", None),
    ]
    assert [(one.name, one.attempt, one.tries, one.error) for one in shown.stages] == [
        ("parse", 1, 2, "no memory"),
        ("parse", 2, 1, None),
    ]
    assert shown.stages[1].ended_at
    assert shown.stages[1].ended_at >= shown.stages[1].started_at
    assert (shown.job.result, shown.waiting, shown.position) == ({"chunks": 3}, None, None)


def test_dead_letters_are_chosen_by_what_they_failed_of(
    connection: Connection[Any], organisation: str, stranger: str
) -> None:
    first, second = (
        fail(connection, organisation),
        fail(connection, organisation, code="other", priority_class=PriorityClass.LOW),
    )
    submit(connection, organisation)
    assert dead_letters(connection, organisation, JobFilter(), limit=9) == [first.id, second.id]
    assert dead_letters(connection, organisation, JobFilter(), limit=1) == [first.id]
    assert dead_letters(connection, organisation, JobFilter(error_code="other"), limit=9) == [second.id]
    assert dead_letters(connection, organisation, JobFilter(finished_after=second.finished_at), limit=9) == [
        second.id
    ]
    assert dead_letters(connection, stranger, JobFilter(), limit=9) == []


def test_events_come_once_each_in_order_and_end_with_the_job(
    connection: Connection[Any], organisation: str, stranger: str
) -> None:
    ended = fail(connection, organisation)
    open = submit(connection, organisation)
    watches = [Watch(organisation=organisation, job=id) for id in (ended.id, open.id, "job_none")]
    news = read_news(connection, [*watches, Watch(organisation=stranger, job=ended.id)])
    assert set(news) == set(watches[:2])
    assert [event.type for event in news[watches[0]].events] == ["queued", "started", "failed"]
    assert (news[watches[0]].last, news[watches[1]].last) == (True, False)
    seen = Watch(organisation=organisation, job=ended.id, after=news[watches[0]].events[1].id)
    assert [event.type for event in read_news(connection, [seen])[seen].events] == ["failed"]
    queue.replay(connection, organisation, ended.id)
    again = read_news(connection, [watches[0]])[watches[0]]
    assert ([event.type for event in again.events], again.last) == (
        ["queued", "started", "failed", "queued"],
        False,
    )


def test_a_long_history_comes_in_parts(connection: Connection[Any], organisation: str) -> None:
    submit(connection, organisation)
    job = turns.begin(connection, organisation)
    for n in range(EVENTS_PER_READ):
        progress.record_progress(connection, job, done=n, total=None)
    attempts.finish(connection, job, result={})
    seen, watch = [], Watch(organisation=organisation, job=job.id)
    while True:
        news = read_news(connection, [watch])[watch]
        seen += [event.id for event in news.events]
        if news.last:
            break
        watch = Watch(organisation=organisation, job=job.id, after=seen[-1])
    assert len(seen) == len(set(seen)) == EVENTS_PER_READ + 3
    assert seen == sorted(seen)


def test_an_event_is_never_passed_over_by_a_later_one(
    pool: ConnectionPool, connection: Connection[Any], organisation: str
) -> None:
    """While one transaction has written an event of a job and not committed, no other can write one of that
    job.
    """
    submit(connection, organisation)
    job = turns.begin(connection, organisation)
    with pool.connection() as slow:
        progress.record_progress(slow, job, done=1, total=None)
        connection.execute("SET lock_timeout = '200ms'")
        with pytest.raises(Exception, match="lock timeout"):
            progress.record_progress(connection, job, done=2, total=None)
        connection.execute("RESET lock_timeout")
    watch = Watch(organisation=organisation, job=job.id)
    assert [event.data.get("done") for event in read_news(connection, [watch])[watch].events][-1] == 1


def test_a_job_is_its_organisation_s_alone(
    connection: Connection[Any], organisation: str, stranger: str
) -> None:
    job = submit(connection, organisation)
    with pytest.raises(NotFound, match=job.id):
        view(connection, stranger, job.id)
