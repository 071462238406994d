"""Each alert of the built-in alerter fires while its real cause lasts, and recovers afterwards."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.alerts.alerter import Alerter
from cluster.alerts.rules import RULES
from cluster.alerts.watch import ProcessWatch
from cluster.analytics.reconciliation import reconcile, repair
from cluster.analytics.rollups import compute_days, compute_hours
from cluster.errors import Unavailable
from cluster.jobs import attempts
from cluster.jobs.jobs import PriorityClass
from cluster.jobs.kinds import ERASE_CUSTOMER, INGEST
from cluster.jobs.queue import JobRequest, cancel, submit
from cluster.jobs.schedules.due import submit_due
from cluster.jobs.schedules.system_schedules import create_system_schedules
from cluster.rate_limits import SharedBreaker
from cluster.settings import Settings
from serve_app.request_counts import RequestCounts
from serve_app.usage.usage_sender import UsageStats
from tests.cluster.alerts.conftest import AT_ONCE, KeepingChannel
from tests.cluster.analytics.test_rollups import message, send
from tests.cluster.analytics.test_upkeep_of_rollups import RECENT
from tests.conftest import new_organisation
from tests.full_disks import small_disk


class Cluster:
    """A process that reports its state and evaluates the rules, and what a cause needs."""

    def __init__(self, settings: Settings, pool: ConnectionPool, folder: Path, kept: KeepingChannel) -> None:
        self.pool, self.folder = pool, folder
        self.organisation = new_organisation(pool)
        #: URL of another database of the same server.
        self.other_database = ""
        self.requests, self.usage = RequestCounts(), UsageStats()
        self.settings = settings.model_copy(update={"home": folder})
        self.alerter = Alerter(self.settings, process="this", channels=[kept], rules=AT_ONCE)
        self.watch = ProcessWatch(
            self.settings, deployment="embedder", state=self._state, alerter=self.alerter
        )

    def run(self, work: Callable[[Connection[Any]], Any]) -> Any:
        with self.pool.connection() as connection:
            return work(connection)

    def execute(self, statement: str, *values: Any) -> None:
        self.run(lambda connection: connection.execute(statement, values))

    def _state(self) -> dict[str, Any]:
        requests, failed = self.requests.sums()
        return {
            "requests": requests,
            "failed_requests": failed,
            "usage_unsent_s": self.usage.unsent_s,
            "usage_only_in_memory": self.usage.only_in_memory,
        }


def end_jobs(cluster: Cluster, *, failed: int, succeeded: int) -> None:
    """Begin jobs and end them."""
    request = JobRequest(kind=INGEST, input={}, total=1)
    with cluster.pool.connection() as connection:
        for number in range(failed + succeeded):
            job = attempts.begin_command(connection, cluster.organisation, request, worker="host-1")
            if number < failed:
                attempts.fail(connection, job, "the disk is full", code="short")
            else:
                attempts.finish(connection, job, result={})


@contextmanager
def many_jobs_fail(cluster: Cluster) -> Iterator[None]:
    end_jobs(cluster, failed=6, succeeded=20)
    yield
    cluster.execute("UPDATE jobs SET finished_at = finished_at - interval '20 minutes'")


@contextmanager
def one_job_fails(cluster: Cluster) -> Iterator[None]:
    end_jobs(cluster, failed=1, succeeded=0)
    yield
    cluster.execute("UPDATE jobs SET finished_at = finished_at - interval '20 minutes'")


@contextmanager
def no_worker_takes_a_job(cluster: Cluster) -> Iterator[None]:
    organisation = cluster.organisation
    job = cluster.run(
        lambda connection: submit(
            connection, organisation, ERASE_CUSTOMER, {}, priority_class=PriorityClass.HIGH
        )
    )
    cluster.execute("UPDATE jobs SET created_at = created_at - interval '70 seconds' WHERE id = %s", job.id)
    yield
    cluster.run(lambda connection: cancel(connection, organisation, job.id))


@contextmanager
def an_hour_is_not_rolled_up(cluster: Cluster) -> Iterator[None]:
    minute = int(
        (datetime.now(UTC) - timedelta(hours=4) - datetime(2026, 3, 29, tzinfo=UTC)).total_seconds() / 60
    )
    cluster.run(lambda connection: send(connection, cluster.organisation, message(minute)))
    cluster.execute("UPDATE dirty_windows SET marked_at = marked_at - interval '3 hours'")
    yield
    compute_hours(cluster.pool, cluster.organisation)
    compute_days(cluster.pool, cluster.organisation)


@contextmanager
def a_rollup_is_wrong(cluster: Cluster) -> Iterator[None]:
    cluster.run(lambda connection: send(connection, cluster.organisation, message(RECENT, cost="0.2")))
    assert reconcile(cluster.pool, cluster.organisation).differences == []
    cluster.execute("UPDATE agent_hourly SET cost = 1 WHERE organisation = %s", cluster.organisation)
    assert reconcile(cluster.pool, cluster.organisation).differences
    yield
    assert repair(cluster.pool, cluster.organisation).differences == []


@contextmanager
def the_scheduler_stopped(cluster: Cluster) -> Iterator[None]:
    cluster.run(create_system_schedules)
    cluster.execute("UPDATE schedules SET next_run_at = now() - interval '400 seconds'")
    yield
    cluster.run(submit_due)


@contextmanager
def a_health_check_fails(cluster: Cluster) -> Iterator[None]:
    with suppress(Unavailable), cluster.watch.health_check():
        raise Unavailable("the GPU is lost")
    yield
    with cluster.watch.health_check():
        pass


@contextmanager
def requests_fail(cluster: Cluster) -> Iterator[None]:
    for status in (503, 200, 200, 404):
        cluster.requests.add(status)
    yield
    for _ in range(100):
        cluster.requests.add(200)


def _end_sessions(connection: Connection[Any], database: str) -> None:
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database]
    )


@contextmanager
def no_connection_is_accepted(cluster: Cluster) -> Iterator[None]:
    (name,) = cluster.run(lambda connection: connection.execute("SELECT current_database()").fetchone())
    cluster.watch.turn()  # it is the evaluator before the database is lost
    with psycopg.connect(cluster.other_database, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        _end_sessions(connection, name)
        cluster.watch._reached_at -= 70
        yield
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


@contextmanager
def the_database_takes_no_writes(cluster: Cluster) -> Iterator[None]:
    (name,) = cluster.run(lambda connection: connection.execute("SELECT current_database()").fetchone())
    cluster.watch._disconnect()
    cluster.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    yield
    with psycopg.connect(cluster.other_database, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        _end_sessions(connection, name)
    cluster.watch._disconnect()


@contextmanager
def the_disk_is_full(cluster: Cluster) -> Iterator[None]:
    with small_disk(cluster.folder / "disk", kib=512) as disk:
        cluster.watch._settings = cluster.settings.model_copy(update={"home": disk.folder})
        disk.fill()
        yield
        disk.make_room()
        cluster.watch.turn()
        cluster.watch._settings = cluster.settings


@contextmanager
def a_provider_is_away(cluster: Cluster) -> Iterator[None]:
    breaker = SharedBreaker(cluster.pool, "provider", threshold=2, first_pause_s=0.05)
    for _ in range(2):
        with suppress(Unavailable), breaker.attempt():
            raise Unavailable("503")
    yield
    time.sleep(0.06)
    with breaker.attempt():
        pass


@contextmanager
def the_usage_folder_is_full(cluster: Cluster) -> Iterator[None]:
    cluster.usage.keep_in_memory("no space left on device")
    yield
    cluster.usage.only_in_memory = False


CAUSES: dict[str, Any] = {
    "JobsFail": many_jobs_fail,
    "DeadLetters": one_job_fails,
    "UrgentJobsWait": no_worker_takes_a_job,
    "RollupsAreLate": an_hour_is_not_rolled_up,
    "RollupsDiffer": a_rollup_is_wrong,
    "SchedulesAreLate": the_scheduler_stopped,
    "ReplicaUnhealthy": a_health_check_fails,
    "EndpointFails": requests_fail,
    "DatabaseAway": no_connection_is_accepted,
    "ResourceUsedUp": the_database_takes_no_writes,
    "DiskNearlyFull": the_disk_is_full,
    "ProviderUnavailable": a_provider_is_away,
    "UsageWaits": the_usage_folder_is_full,
}
#: A cause of JobsFail is also a cause of DeadLetters.
ALSO = {"JobsFail": {"DeadLetters"}}


@pytest.fixture
def cluster(
    own_settings: Settings, own_pool: ConnectionPool, database_url: str, tmp_path: Path, kept: KeepingChannel
) -> Generator[Cluster]:
    cluster = Cluster(own_settings, own_pool, tmp_path, kept)
    cluster.other_database = database_url
    yield cluster
    cluster.watch.stop()
    cluster.watch._disconnect()
    cluster.alerter.stop()


def test_every_rule_has_a_cause() -> None:
    assert list(CAUSES) == list(RULES)


@pytest.mark.parametrize("rule", CAUSES)
def test_an_alert_fires_once_while_its_cause_lasts_and_recovers(
    rule: str, cluster: Cluster, kept: KeepingChannel
) -> None:
    also = ALSO.get(rule, set())
    cluster.watch.turn()
    with ExitStack() as cause:
        cause.enter_context(CAUSES[rule](cluster))
        cluster.watch.turn()
        cluster.watch.turn()
        fired = kept.wait(1 + len(also))
        assert sorted(fired) == sorted(("firing", name) for name in {rule, *also})
    cluster.watch.turn()
    messages = kept.wait(2 * (1 + len(also)))
    assert sorted(messages[len(fired) :]) == sorted(("resolved", name) for name in {rule, *also})
    assert not [notice.text for notice in kept.sent if "{" in notice.text]
