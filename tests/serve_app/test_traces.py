"""One trace leads from a request over its job and the stages of the job to the model's replica."""

from collections.abc import Iterator
from functools import partial

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from psycopg_pool import ConnectionPool

from cluster.deploy.model_deployments import ModelCall, call_replica
from cluster.settings import Settings
from data_jobs.worker.chunk_embedder import Ids
from serve_app.deployment import Embedder
from tests.cluster.tracing.collector import Collector, traced
from tests.data_jobs.running_consumer import consuming
from tests.serve_app.conftest import MODEL, Server
from tests.serve_app.test_deployment import replica
from tests.serve_app.test_own_deployment import Handle
from tests.waiting import until

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADERS = {"traceparent": f"00-{TRACE}-{CALLER}-01"}


class CalledReplica:
    """Calls a replica as a worker does, but without Ray between the two."""

    def __init__(self, server: Server) -> None:
        self.call = partial(call_replica, Handle(partial(Embedder.embed_ids, replica(server))), faults=())

    async def __call__(
        self, ids: Ids, *, fingerprint: str, organisation: str, urgent: bool
    ) -> NDArray[np.float32]:
        return await self.call(
            ids, ModelCall(fingerprint=fingerprint, organisation=organisation, urgent=urgent)
        )


@pytest.fixture(scope="module")
def collector(settings: Settings) -> Iterator[Collector]:
    """Receives the spans of this process during the tests of this module."""
    with traced(settings) as collector:
        yield collector


def test_a_request_its_job_the_stages_and_the_replica_share_a_trace(
    server: Server, http: httpx.Client, settings: Settings, pool: ConnectionPool, collector: Collector
) -> None:
    with consuming(settings, pool, embed=CalledReplica(server)):
        store = http.post("/v1/vector_stores", json={"name": "traced"}).json()["id"]
        file = http.post(
            "/v1/files", files={"file": ("swift.txt", b"Swifts sleep.")}, data={"purpose": "assistants"}
        ).json()["id"]
        attached = http.post(f"/v1/vector_stores/{store}/files", json={"file_id": file}, headers=HEADERS)
        job = http.get("/v1/jobs", params={"subject": file}).json()["data"][0]
        until(lambda: http.get(f"/v1/jobs/{job['id']}").json(), lambda one: one["state"] == "succeeded")
    found = collector.until(lambda found: "job index_file" in {one.name for one in found}, trace=TRACE)

    assert attached.headers["traceparent"].startswith(f"00-{TRACE}-")
    assert job["trace_id"] == TRACE
    by_name = {one.name: one for one in found}
    request = by_name["POST /v1/vector_stores/{vector_store_id}/files"]
    run, embed, called = by_name["job index_file"], by_name["stage embed"], by_name["embed_ids"]
    assert (request.parent, run.parent, embed.parent, called.parent) == (CALLER, request.id, run.id, embed.id)
    assert (request.kind, run.kind, called.kind) == ("SERVER", "CONSUMER", "SERVER")
    assert by_name["stage parse"].parent == run.id
    assert request.attributes["http.response.status_code"] == 200
    assert (run.attributes["cluster.job"], run.attributes["cluster.job.attempt"]) == (job["id"], 1)
    assert not any(one.failed for one in found)


def test_embeddings_have_the_attributes_of_the_conventions(http: httpx.Client, collector: Collector) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    sent = {"traceparent": f"00-{trace}-{CALLER}-01"}
    http.post("/v1/embeddings", json={"model": MODEL, "input": ["one", "two"]}, headers=sent)
    found = collector.until(lambda found: len(found) == 2, trace=trace)

    made = next(one for one in found if one.name == f"embeddings {MODEL}")
    assert made.kind == "INTERNAL"
    assert made.attributes == {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "embedding-cluster",
        "gen_ai.request.model": MODEL,
        "gen_ai.embeddings.dimension.count": 384,
        "gen_ai.usage.input_tokens": 6,
        "cluster.inputs": 2,
    }
    assert made.schema_url == "https://opentelemetry.io/schemas/1.37.0"


def test_a_request_without_a_trace_gets_one_and_a_wrong_header_is_ignored(http: httpx.Client) -> None:
    first, second = (http.get("/v1/models", headers={"traceparent": text}) for text in ("", "00-wrong"))

    assert len({answer.headers["traceparent"].split("-")[1] for answer in (first, second)}) == 2
    assert {answer.status_code for answer in (first, second)} == {200}
