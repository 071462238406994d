"""A model with replicas of its own: its deployment, and the calls of the endpoint and the workers to it."""

import asyncio
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata
from psycopg_pool import ConnectionPool
from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.config import AutoscalingConfig

from cluster.deploy.gpu_nodes import ACCELERATOR
from cluster.deploy.model_deployments import (
    ModelCall,
    call_replica,
    deployment_of,
    own_deployment,
)
from cluster.deploy.unanswered_calls import UNANSWERED
from cluster.engines import Engine, Registry, open_engine
from cluster.errors import Conflict, Throttled, Unavailable
from cluster.settings import Settings
from cluster.settings.models import ModelSetting
from cluster.settings.values import Table
from data_jobs.deployment import ServedEmbedder
from serve_app.deployment import ModelReplica
from serve_app.embedding.served_model import RequestContext, open_batcher
from serve_app.embedding.served_models import ServedModels
from serve_app.main import model_options, options
from tests.hashing_engine import KIND, hashing_kind
from tests.serve_app.conftest import MODEL, PROMPTED, Server, serving
from tests.waiting import LONGEST_WAIT_S

CALL = ModelCall(fingerprint="a model@1", organisation="acme", urgent=True, deadline_s=3.0)


class Handle:
    """Serve's handle of a deployment whose only replica is in this process."""

    def __init__(self, embed_ids: Any) -> None:
        self.embed_ids = SimpleNamespace(remote=lambda *ids, **call: Response(embed_ids(*ids, **call)))


class Response:
    """Serve's response: it can be awaited and cancelled."""

    cancelled = 0

    def __init__(self, work: Any) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, None, Any]:
        return (yield from self._work.__await__())

    def cancel(self) -> None:
        Response.cancelled += 1


class OneReplica:
    """A replica of the model's deployment, without Serve around it."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.calls: list[dict[str, Any]] = []
        self._replica = SimpleNamespace(_engine=engine, _batcher=open_batcher(engine, settings))

    async def embed_ids(self, ids: Any, **call: Any) -> Any:
        self.calls.append({**call, "inputs": len(ids)})
        return await ModelReplica.embed_ids(self._replica, ids, **call)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def own_settings(settings: Settings, prompted: Path) -> Settings:
    """Settings in which the model with prompts has one to four replicas of its own."""
    setting = ModelSetting(source=str(prompted), min_replicas=1, max_replicas=4, gpus=0.5)
    return settings.model_copy(update={"models": Table({PROMPTED: setting})})


@pytest.fixture(scope="module")
def replica(own_settings: Settings) -> OneReplica:
    """The model's replica."""
    return OneReplica(open_engine(Registry(own_settings).named(PROMPTED)), own_settings)


@pytest.fixture(scope="module")
def endpoint(own_settings: Settings, replica: OneReplica, pool: ConnectionPool) -> Iterator[Server]:
    """The endpoint, which calls that replica."""
    call = partial(call_replica, Handle(replica.embed_ids), faults=(RayActorError,))
    with serving(own_settings, {PROMPTED: call}) as server:
        yield server


@pytest.fixture(scope="module")
def http(endpoint: Server) -> Iterator[httpx.Client]:
    """Open a client of the endpoint."""
    with httpx.Client(base_url=endpoint.url, timeout=LONGEST_WAIT_S) as client:
        yield client


def test_a_model_scales_alone_and_has_its_own_share_of_a_gpu(own_settings: Settings) -> None:
    entry = Registry(own_settings).named(PROMPTED)
    own, all_others = model_options(entry, gpus=2), options(own_settings, gpus=2)
    assert own["name"] == own_deployment(PROMPTED) == f"embedder-{PROMPTED}"
    assert own["ray_actor_options"] == {"num_cpus": 1, "num_gpus": 0.5}
    bounds = own["autoscaling_config"]
    assert (bounds["min_replicas"], bounds["max_replicas"]) == (1, 4)
    assert (all_others["name"], all_others["num_replicas"]) == ("embedder", 1)
    assert all_others["ray_actor_options"]["num_gpus"] == 1
    fixed = own_settings.model_copy(
        update={"models": Table({"a/b": ModelSetting(source="/a", min_replicas=2)})}
    )
    model = model_options(Registry(fixed).named("a/b"), gpus=0)
    assert (model["num_replicas"], model["ray_actor_options"]["num_gpus"]) == (2, 0)
    assert model["ray_actor_options"]["label_selector"].keys() == {ACCELERATOR}, (
        "it prefers nodes without GPUs"
    )
    assert model["name"].startswith("embedder-a-b-")
    assert own_deployment("a:b") != model["name"]


@pytest.mark.parametrize(("own", "reserved"), [({}, 1.5), ({"memory_gib": 4.0}, 4), ({"memory_gib": 0}, 0)])
def test_a_replica_reserves_the_memory_of_its_model(
    own_settings: Settings, own: dict[str, float], reserved: float
) -> None:
    models = Table({"own": ModelSetting(source="/a", min_replicas=1, **own)})
    changed = own_settings.model_copy(update={"models": models, "memory_per_replica_gib": 1.5})
    asked = model_options(Registry(changed).named("own"), gpus=1)["ray_actor_options"]
    assert asked.get("memory", 0) == reserved * 2**30
    assert options(changed, gpus=1)["ray_actor_options"]["memory"] == 1.5 * 2**30


def test_requests_that_wait_for_another_deployment_add_no_replica_of_the_endpoint(
    own_settings: Settings,
) -> None:
    scaled = options(
        own_settings.model_copy(update={"max_replicas": 8, "target_ongoing_requests": 10.0}), gpus=0
    )["autoscaling_config"]
    config = AutoscalingConfig(**scaled)
    context: Any = SimpleNamespace(
        aggregated_metrics={"elsewhere": {"one": 20.0, "two": 15.0}},
        total_num_requests=65.0,
        policy_state={},
        config=config,
        current_num_replicas=1,
        target_num_replicas=1,
    )
    config.upscale_delay_s = 0
    assert config.policy.get_policy()(context)[0] == 3
    context.total_num_requests = 35.0
    assert config.policy.get_policy()(context)[0] == 1
    plain = Settings(max_replicas=8)
    assert "policy" not in options(plain, gpus=0)["autoscaling_config"]


async def test_a_request_counts_until_it_is_answered_and_requests_of_a_batch_do_not(
    own_settings: Settings,
) -> None:
    answer = asyncio.Event()

    async def call(*_: Any) -> Any:
        await answer.wait()
        return np.zeros((1, 384), np.float32)

    usage: Any = SimpleNamespace(add=lambda *_, **__: None)
    models = ServedModels(own_settings, usage, {PROMPTED: call})
    ids = [np.array([2000], np.int32)]
    tasks = [
        asyncio.create_task(
            models[name].embed_ids(ids, RequestContext(organisation="acme", records_usage=counts))
        )
        for name, counts in ((PROMPTED, True), (PROMPTED, False))
    ]
    await asyncio.sleep(0)
    assert models.remote_requests == 1
    answer.set()
    assert [(await task).vectors.shape for task in tasks] == [(1, 384)] * 2
    assert models.remote_requests == 0


def test_only_models_with_replicas_of_their_own_are_not_loaded_by_the_endpoint(endpoint: Server) -> None:
    assert list(endpoint.service.models) == [MODEL, PROMPTED]
    assert list(endpoint.service.models.engines) == [MODEL]


def test_the_endpoint_answers_with_the_vectors_of_the_models_replica(
    http: httpx.Client, replica: OneReplica, own_settings: Settings
) -> None:
    engine = open_engine(Registry(own_settings).named(PROMPTED))
    long = "word " * 400
    body: dict[str, Any] = {
        "model": PROMPTED,
        "input": ["herons", long],
        "input_type": "query",
        "dimensions": 128,
    }
    body["overflow"] = "truncate"
    answer = http.post("/v1/embeddings", json=body)
    expected = engine.embed(["query: herons", f"query: {long}"])
    vectors = np.array([item["embedding"] for item in answer.json()["data"]], np.float32)
    cut = expected.vectors[:, :128] / np.linalg.norm(expected.vectors[:, :128], axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, cut, atol=1e-5)
    assert answer.json()["usage"]["total_tokens"] == expected.token_counts.sum()
    assert answer.headers["x-truncated-inputs"] == "1"
    last = replica.calls[-1]
    assert (last["fingerprint"], last["lane"], last["inputs"]) == (engine.fingerprint.id, "interactive", 2)
    listed = {one["id"]: one for one in http.get("/v1/models").json()["data"]}
    assert listed[PROMPTED]["trained_dimensions"] == [64, 128, 384]
    assert listed[PROMPTED]["fingerprint"] == engine.fingerprint.id


def test_a_store_is_searched_with_the_models_replica(http: httpx.Client, replica: OneReplica) -> None:
    store = http.post("/v1/vector_stores", json={"embedding_model": PROMPTED}).json()["id"]
    before = len(replica.calls)
    found = http.post(f"/v1/vector_stores/{store}/search", json={"query": "herons"})
    assert (found.status_code, len(replica.calls)) == (200, before + 1)


def test_a_replica_with_other_weights_computes_nothing(own_settings: Settings, pool: ConnectionPool) -> None:
    with hashing_kind():
        other = own_settings.model_copy(
            update={"models": Table({PROMPTED: ModelSetting(source=f"{KIND}:384")})}
        )
        swapped = OneReplica(open_engine(Registry(other).named(PROMPTED)), other)
    call = partial(call_replica, Handle(swapped.embed_ids), faults=(RayActorError,))
    with (
        serving(own_settings, {PROMPTED: call}) as server,
        httpx.Client(base_url=server.url, timeout=LONGEST_WAIT_S) as http,
    ):
        answer = http.post("/v1/embeddings", json={"model": PROMPTED, "input": "herons"})
    message = answer.json()["error"]["message"]
    assert (answer.status_code, "nothing was computed" in message) == (409, True)
    assert server.service.models[PROMPTED].engine.fingerprint.id in message


async def test_a_worker_calls_the_deployment_of_the_stores_model(
    own_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []

    async def answer(*_: Any, **__: Any) -> Any:
        return np.zeros((0, 384), np.float32)

    def handle(deployment: str, *, app_name: str) -> Handle:
        called.append(f"{app_name}/{deployment}")
        return Handle(answer)

    monkeypatch.setattr(serve, "get_deployment_handle", handle)
    embed = ServedEmbedder(own_settings)
    for name in (MODEL, PROMPTED, PROMPTED, "unknown"):
        await embed([], fingerprint=f"{name}@0123", organisation="acme", urgent=False)
    assert called == [f"embedding-cluster/{name}" for name in ("embedder", f"embedder-{PROMPTED}")]
    assert deployment_of(own_settings, "unknown") == "embedder"


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (
            RayTaskError("f", "Traceback ...", Throttled("full", retry_after_s=7)).as_instanceof_cause(),
            Throttled,
        ),
        (RayTaskError("f", "Traceback ...", Conflict("other")).as_instanceof_cause(), Conflict),
        (RayActorError(), Unavailable),
        (
            AioRpcError(StatusCode.CANCELLED, Metadata(), Metadata(), details="the replica stops"),
            Unavailable,
        ),
    ],
)
async def test_errors_of_a_replica_arrive_as_what_they_are(
    raised: Exception, expected: type[Exception]
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise raised

    with pytest.raises(expected) as refusal:
        await call_replica(Handle(fail), [], CALL, faults=UNANSWERED)
    assert type(refusal.value) is expected
    assert "Traceback" not in str(refusal.value)
    assert not isinstance(raised, AioRpcError) or str(refusal.value).endswith("the replica stops")


async def test_a_cancelled_caller_cancels_the_call() -> None:
    begun = asyncio.Event()

    async def wait(*_: Any, **call: Any) -> None:
        assert call == {
            "fingerprint": "a model@1", "organisation": "acme", "lane": "interactive", "deadline_s": 3.0
        }  # fmt: skip
        begun.set()
        await asyncio.sleep(60)

    before = Response.cancelled
    task = asyncio.create_task(call_replica(Handle(wait), [], CALL, faults=()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert Response.cancelled == before + 1
