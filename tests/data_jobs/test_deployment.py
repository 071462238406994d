"""How many workers there are follows what waits and for how long, within the bounds that were set; what they
hear from the model.
"""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest
from psycopg_pool import ConnectionPool
from ray import serve
from ray._common.utils import import_attr
from ray.exceptions import RayTaskError
from ray.serve._private.common import DeploymentID, ReplicaID
from ray.serve.config import AutoscalingConfig, AutoscalingContext

from cluster.blobs import open_blob_store
from cluster.deploy.gpu_nodes import ACCELERATOR
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.errors import Throttled
from cluster.jobs import queue
from cluster.jobs.jobs import read_backlog
from cluster.jobs.kinds.job_kind import JobKind
from cluster.settings import Settings
from data_jobs import deployment
from data_jobs.deployment import ServedEmbedder, Worker, build, by_queue, options
from data_jobs.kinds.resources import Resources
from data_jobs.kinds.upkeep import expire
from data_jobs.worker.consumer import Consumer
from tests.waiting import LONGEST_WAIT_S


def context(
    *, now: int, waiting: float, oldest_s: float, busy: float = 0, most: int = 10
) -> AutoscalingContext:
    """What Serve tells the policy."""
    deployment = DeploymentID(name="worker", app_name="workers")
    replicas = [ReplicaID(unique_id=f"r{number}", deployment_id=deployment) for number in range(now)]
    said = {"waiting": waiting, "oldest_s": oldest_s, "busy": busy}
    metrics: dict[str, dict[Any, float]] = {
        name: dict.fromkeys(replicas, value) for name, value in said.items()
    }
    return AutoscalingContext(
        deployment_id=deployment,
        deployment_name="worker",
        app_name="workers",
        current_num_replicas=now,
        target_num_replicas=now,
        running_replicas=replicas,
        total_num_requests=0,
        total_queued_requests=0,
        aggregated_metrics=metrics,
        raw_metrics=None,
        capacity_adjusted_min_replicas=1,
        capacity_adjusted_max_replicas=most,
        policy_state={},
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=None,
        config=None,
    )


async def test_a_model_that_throttles_says_so_in_its_own_words_and_for_how_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Full:
        async def remote(self, *_: Any, **__: Any) -> None:
            raise RayTaskError(
                "embed_ids", "Traceback (most recent call last): ...", Throttled("full", retry_after_s=7)
            ).as_instanceof_cause()

    monkeypatch.setattr(serve, "get_deployment_handle", lambda *_, **__: SimpleNamespace(embed_ids=Full()))
    with pytest.raises(Throttled) as refused:
        await ServedEmbedder(Settings())([], fingerprint="a model", organisation="default", urgent=False)
    assert (str(refused.value), refused.value.retry_after_s) == ("full", 7)


@pytest.mark.parametrize(
    ("now", "waiting", "oldest_s", "wanted"),
    [(1, 0, 0, 1), (1, 9, 1, 2), (2, 80, 5, 10), (2, 10_000, 5, 10), (3, 2, 31, 4), (5, 0, 0, 1)],
    ids=[
        "nothing waits",
        "more than one's share",
        "ten shares",
        "never more than allowed",
        "one waits long",
        "a lull",
    ],
)
def test_the_number_of_workers(now: int, waiting: float, oldest_s: float, wanted: int) -> None:
    assert by_queue(context(now=now, waiting=waiting, oldest_s=oldest_s))[0] == wanted


@pytest.mark.parametrize(("busy", "wanted"), [(0.3, 1), (1.4, 2), (3.0, 3), (7.0, 3)])
def test_no_worker_is_stopped_that_has_something_to_do(busy: float, wanted: int) -> None:
    assert by_queue(context(now=3, waiting=0, oldest_s=0, busy=busy))[0] == wanted


@pytest.mark.parametrize(("reason", "ends"), [("ran 5 jobs", True), ("", False)], ids=["due", "not due"])
def test_a_worker_that_has_to_be_replaced_ends_its_process(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, reason: str, ends: bool
) -> None:
    ended, replaced = threading.Event(), threading.Event()

    async def consume(worker: Worker) -> None:
        worker._consumer = Consumer(settings, kinds={}, name="worker")
        worker._consumer.recycling.reason = reason
        if ends:  # a thread that hangs must not delay the end of the process
            asyncio.get_running_loop().run_in_executor(None, ended.wait, 60)

    monkeypatch.setattr(deployment, "end_process", lambda: (replaced.set(), ended.set()))
    monkeypatch.setattr(deployment, "keep_to_loopback", lambda: None)
    monkeypatch.setattr(deployment, "Settings", lambda: settings)
    monkeypatch.setattr(deployment, "lower_priority", lambda _: None)
    monkeypatch.setattr(Worker, "_consume", consume)

    Worker()._thread.join(LONGEST_WAIT_S)

    assert replaced.is_set() == ends


def test_serve_takes_the_policy_by_its_path() -> None:
    scaled = options(Settings(min_workers=1, max_workers=4))["autoscaling_config"]
    policy = AutoscalingConfig(**scaled).policy.get_policy()
    assert policy(context(now=2, waiting=40, oldest_s=0))[0] == 5
    assert options(Settings())["num_replicas"] == 1


def test_workers_prefer_nodes_without_gpus() -> None:
    asked = options(Settings())["ray_actor_options"]
    refused = asked["label_selector"][ACCELERATOR]
    assert refused.startswith("!in(")
    assert {"T4", "L40S", "H200"} <= set(refused[4:-1].split(","))
    assert asked["fallback_strategy"] == [{"label_selector": {}}]


def test_what_waits_counts_with_the_age_of_the_oldest(pool: ConnectionPool, organisation: str) -> None:
    with pool.connection() as connection:
        before = read_backlog(connection).jobs
        queue.submit(connection, organisation, JobKind(name="nobody_knows"), {})
        connection.execute(
            "UPDATE jobs SET created_at = now() - interval '1 hour' WHERE organisation = %s", [organisation]
        )
        now = read_backlog(connection)
        connection.rollback()
    assert now.jobs == before + 1
    assert now.oldest_s >= 3_600


def test_what_waits_behind_a_cap_asks_for_no_worker(pool: ConnectionPool, organisation: str) -> None:
    with pool.connection() as connection:
        before = read_backlog(connection).jobs
        for _ in range(5):
            queue.submit(connection, organisation, JobKind(name="nobody_knows"), {})
        connection.execute("UPDATE organisations SET concurrency_limit = 2 WHERE id = %s", [organisation])
        capped = read_backlog(connection).jobs
        connection.execute(
            "UPDATE jobs SET state = 'running'"
            " WHERE id IN (SELECT id FROM jobs WHERE organisation = %s LIMIT 2)",
            [organisation],
        )
        full = read_backlog(connection)
        connection.rollback()
    assert (capped, full.jobs) == (before + 2, before)


def test_upkeep_ends_everything_whose_time_is_over(
    settings: Settings, pool: ConnectionPool, organisation: str
) -> None:
    with pool.connection() as connection:
        connection.execute(
            "INSERT INTO uploads (organisation, id, filename, purpose, bytes, media_type, status, expires_at)"
            " SELECT %s, n::text, 'a.txt', 'assistants', 1, 'text/plain', 'pending',"
            " now() - interval '1 hour'"
            " FROM generate_series(1, 250) AS n",
            [organisation],
        )
    resources = Resources(
        blobs=open_blob_store(settings),
        indexes=ChunkIndexes(settings, pool),
        parsers=cast(Any, None),
        embed=cast(Any, None),
        answer=cast(Any, None),
    )
    assert expire(resources, settings, pool)["uploads"] >= 1
    with pool.connection() as connection:
        left = connection.execute(
            "SELECT DISTINCT status FROM uploads WHERE organisation = %s", [organisation]
        ).fetchall()
    assert left == [("expired",)]


def test_the_import_path_in_an_older_serve_yaml_still_works() -> None:
    assert import_attr("data_jobs.worker:build") is build
