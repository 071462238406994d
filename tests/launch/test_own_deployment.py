"""A model with a deployment of its own starts when it is asked, and no other model's replicas change."""

from typing import Any

import httpx
import numpy as np
import pytest

from cluster.deploy.model_deployments import APPLICATION, ENDPOINT, own_deployment
from tests.running_cluster import IDLE_MODEL, RunningCluster
from tests.waiting import LONGEST_WAIT_S, until

pytestmark = pytest.mark.launch

TEXT = "Only the operator on duty may stop the pump."


def replicas(cluster: RunningCluster) -> dict[str, int]:
    """Number of running replicas of each deployment of the endpoint's application."""
    described = httpx.get(f"{cluster.dashboard}/api/serve/applications/", timeout=LONGEST_WAIT_S).json()
    return {
        name: sum(replica["state"] == "RUNNING" for replica in deployment["replicas"])
        for name, deployment in described["applications"][APPLICATION]["deployments"].items()
    }


def test_its_load_starts_its_replica_which_requests_and_workers_reach(
    running_cluster: RunningCluster,
) -> None:
    own = own_deployment(IDLE_MODEL)
    until(lambda: replicas(running_cluster), lambda found: found == {ENDPOINT: 1, own: 0})
    with httpx.Client(base_url=running_cluster.api, timeout=LONGEST_WAIT_S) as http:
        vectors = [
            http.post("/v1/embeddings", json={"model": model, "input": TEXT}).json()["data"][0]["embedding"]
            for model in (running_cluster.settings.model, IDLE_MODEL)
        ]
        np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-5)  # both have the same weights
        assert replicas(running_cluster) == {ENDPOINT: 1, own: 1}
        store = http.post("/v1/vector_stores", json={"embedding_model": IDLE_MODEL}).json()["id"]
        file: Any = http.post(
            "/v1/files",
            files={"file": ("pump.txt", TEXT)},
            data={"purpose": "assistants", "vector_store_id": store},
        ).json()
        path = f"/v1/vector_stores/{store}"
        attached = until(
            lambda: http.get(f"{path}/files/{file['id']}").json(),
            lambda file: file["status"] != "in_progress",
        )
        assert attached["status"] == "completed", attached
        (hit,) = http.post(f"{path}/search", json={"query": "who may stop the pump"}).json()["data"]
        assert hit["content"][0]["text"] == TEXT
