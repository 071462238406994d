"""The logs of a job are found in the files of the running cluster, in its folder and over its dashboard."""

import json
import subprocess
import sys
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT
from tests.data_jobs.running_consumer import until
from tests.running_cluster import RunningCluster, environment_of

pytestmark = [pytest.mark.launch, pytest.mark.timeout(300)]

TRACE = "5bf92f3577b34da6a3ce929d0e0e4737"
HEADERS = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-00"}


def logs_of(running_cluster: RunningCluster, job: str, *more: str) -> list[dict[str, Any]]:
    """The entries that the command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "cluster.local.job_logs", job, "--json", *more],
        cwd=ROOT,
        env=environment_of(running_cluster.settings),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_line_of_a_worker_about_a_failed_job_is_found_beside_its_history(
    running_cluster: RunningCluster,
) -> None:
    with httpx.Client(base_url=running_cluster.api, timeout=60) as client:
        store = client.post("/v1/vector_stores", json={"name": "logs"}).json()["id"]
        broken = ("broken.pdf", b"%PDF-1.7 cut short", "application/pdf")
        file = client.post("/v1/files", files={"file": broken}, data={"purpose": "assistants"}).json()["id"]
        client.post(f"/v1/vector_stores/{store}/files", json={"file_id": file}, headers=HEADERS)
        (job,) = client.get("/v1/jobs", params={"subject": file}).json()["data"]
        until(lambda: client.get(f"/v1/jobs/{job['id']}").json(), lambda one: one["state"] == "failed")

    found = logs_of(running_cluster, job["id"])
    assert job["trace_id"] == TRACE
    (line,) = (one for one in found if one["event"] == "job_failed")
    assert (line["process"].split()[0], line["fields"]["kind"]) == ("worker", "index_file")
    assert (line["fields"]["job"], line["fields"]["trace"]) == (job["id"], TRACE)
    assert {"job queued", "job started", "attempt ended", "job failed"} <= {one["event"] for one in found}
    assert [one["at"] for one in found] == sorted(one["at"] for one in found)
    assert logs_of(running_cluster, job["id"], "--dashboard", running_cluster.dashboard) == found
