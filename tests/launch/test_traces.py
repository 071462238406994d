"""One trace leads through the processes of the running cluster: endpoint, worker, replica."""

import httpx
import pytest

from tests.running_cluster import RunningCluster, sends_spans
from tests.waiting import LONGEST_WAIT_S

pytestmark = [
    pytest.mark.launch,
    pytest.mark.skipif(not sends_spans(), reason="the extra tracing is not installed"),
]

TRACE, CALLER = "6bf92f3577b34da6a3ce929d0e0e4738", "00f067aa0ba902b7"
NAMES = {"POST /v1/vector_stores/{vector_store_id}/files", "job index_file", "stage embed", "embed_ids"}


def test_a_request_its_job_and_the_replica_are_spans_of_one_trace(running_cluster: RunningCluster) -> None:
    sent = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
    with httpx.Client(base_url=running_cluster.api, timeout=LONGEST_WAIT_S) as client:
        store = client.post("/v1/vector_stores", json={"name": "traces"}).json()["id"]
        text = ("swift.txt", b"Swifts sleep on the wing.", "text/plain")
        file = client.post("/v1/files", files={"file": text}, data={"purpose": "assistants"}).json()["id"]
        client.post(f"/v1/vector_stores/{store}/files", json={"file_id": file}, headers=sent)
    found = running_cluster.collector.until(lambda found: {one.name for one in found} >= NAMES, trace=TRACE)

    by_name = {one.name: one for one in found}
    request, run, embed, called = (
        by_name[name]
        for name in (
            "POST /v1/vector_stores/{vector_store_id}/files",
            "job index_file",
            "stage embed",
            "embed_ids",
        )
    )
    assert (request.parent, run.parent, embed.parent, called.parent) == (CALLER, request.id, run.id, embed.id)
    services = [one.resource["service.name"] for one in (request, run, embed, called)]
    assert services == [f"embedding-cluster-{name}" for name in ("endpoint", "worker", "worker", "endpoint")]
    assert run.resource["process.pid"] != called.resource["process.pid"]
