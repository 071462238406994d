"""The logs of a job are found beside the files that the running cluster keeps of its processes."""

import json
import subprocess
import sys

import httpx
import pytest

from cluster.local.job_logs.log_files import logs_folder
from tests.conftest import ROOT
from tests.running_cluster import RunningCluster, environment_of
from tests.waiting import LONGEST_WAIT_S, until

pytestmark = pytest.mark.launch

TRACE = "5bf92f3577b34da6a3ce929d0e0e4737"
HEADERS = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-00"}


def test_a_job_is_found_in_the_database_and_in_the_folder_of_the_running_head(
    running_cluster: RunningCluster,
) -> None:
    with httpx.Client(base_url=running_cluster.api, timeout=LONGEST_WAIT_S) as client:
        store = client.post("/v1/vector_stores", json={"name": "logs"}).json()["id"]
        text = ("swift.txt", b"Swifts sleep on the wing.", "text/plain")
        file = client.post("/v1/files", files={"file": text}, data={"purpose": "assistants"}).json()["id"]
        client.post(f"/v1/vector_stores/{store}/files", json={"file_id": file}, headers=HEADERS)
        (job,) = client.get("/v1/jobs", params={"subject": file}).json()["data"]
        until(lambda: client.get(f"/v1/jobs/{job['id']}").json(), lambda one: one["state"] == "succeeded")
    # The cluster logs only warnings, and nothing went wrong, so the test adds a line of the trace.
    folder = logs_folder(running_cluster.settings)
    assert folder is not None
    line = {"timestamp": "2020-01-01T00:00:00Z", "event": "seen", "process": "endpoint", "trace": TRACE}
    (folder / "worker-of-a-test.err").write_text(json.dumps(line) + "\n")

    done = subprocess.run(
        [sys.executable, "-m", "cluster.local.job_logs", job["id"], "--json"],
        cwd=ROOT,
        env=environment_of(running_cluster.settings),
        capture_output=True,
        text=True,
        check=True,
        timeout=LONGEST_WAIT_S,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert job["trace_id"] == TRACE
    assert (found[0]["event"], found[0]["process"]) == ("seen", "endpoint")
    assert {"job queued", "job started", "attempt ended", "job succeeded"} <= {one["event"] for one in found}
    assert [one["at"] for one in found] == sorted(one["at"] for one in found)
