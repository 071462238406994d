"""Progress never runs backwards within an attempt, and is whole only at the end, whatever fails, pauses and
begins again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as options
from hypothesis import strategies as st
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.errors import Throttled, Unavailable
from cluster.jobs import attempts, queue
from cluster.jobs.jobs import Job, get_job
from cluster.jobs.kinds.job_kind import JobKind
from cluster.retrying import Backoff
from cluster.settings import Settings
from data_jobs.kinds.index_file import SHARES
from data_jobs.worker.job_attempt import JobAttempt
from data_jobs.worker.shortages import Shortages
from tests.cluster.jobs import turns

#: Of one try of a stage: what it tells, each (done, total); and whether it ends well, fails, or is throttled
#: once on its way.
Try = tuple[list[tuple[int, int]], str]
TOLD = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 400)), max_size=4)
TRIES = st.lists(st.tuples(TOLD, st.sampled_from(["fails", "pauses"])), max_size=2)
STAGES = st.fixed_dictionaries({stage: st.tuples(TRIES, TOLD) for stage in SHARES})


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "data_jobs.worker.job_attempt.BACKOFF", Backoff(first_s=0.001, longest_s=15.0, jitter=True)
    )


async def attempt(run: JobAttempt, plan: dict[str, tuple[list[Try], list[tuple[int, int]]]]) -> None:
    """Every stage, with its failing tries first."""
    for stage, (failing, well) in plan.items():
        tries = iter([*failing, (well, "ends")])

        async def work(tries: Any = tries) -> None:
            told, end = next(tries)
            for done, total in told:
                await run.progress(done, total, unit="things", now=True)
            if end != "ends":
                raise Throttled("busy") if end == "pauses" else Unavailable("away")

        await run.stage(stage, work, share=SHARES[stage])


def told(connection: Connection[Any], job: Job) -> Sequence[tuple[int, dict[str, Any]]]:
    rows = connection.execute(
        "SELECT data FROM job_events WHERE job = %s AND type = 'progress' ORDER BY id", [job.id]
    ).fetchall()
    return [(data["attempt"], data) for (data,) in rows]


@given(first=STAGES, second=STAGES)
@options(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_never_falls_and_is_whole_only_at_the_end(
    settings: Settings, pool: ConnectionPool, organisation: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    with pool.connection() as connection:
        connection.autocommit = True
        submitted = queue.submit(
            connection, organisation, JobKind(name="test", total=100, unit="percent"), {}
        )
        with ThreadPoolExecutor(2) as threads:
            for number, plan in ((1, first), (2, second)):
                job = turns.begin(connection, organisation)
                assert (job.id, job.attempt, job.done) == (submitted.id, number, 0)
                shortages = Shortages(settings, asyncio.Event())
                asyncio.run(attempt(JobAttempt(job, settings, pool, threads, shortages), plan))
                running = get_job(connection, organisation, job.id)
                assert (running.done, running.total) == (99, 100)
                if number == 1:
                    attempts.retry_later(connection, job, run_at=None, error="away", code="unavailable")
        ended = attempts.finish(connection, job, result={})
        assert (ended.done, ended.total, ended.unit) == (100, 100, "percent")
        seen: defaultdict[int, list[int]] = defaultdict(list)
        of_stage: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
        for number, data in told(connection, job):
            seen[number].append(data["done"])
            of_stage[number, data["stage"]["name"]].append(data["stage"]["done"])
            assert data["done"] < data["total"] == 100
            assert (data["unit"], data["stage"]["unit"]) == ("percent", "things")
        assert all(line == sorted(line) for line in (*seen.values(), *of_stage.values()))
        connection.autocommit = False


def test_the_stages_shares_follow_one_another() -> None:
    begins, ends = zip(*SHARES.values(), strict=True)
    assert begins == (0, *ends[:-1])
    assert ends[-1] < 100
