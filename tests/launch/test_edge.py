"""HTTP listeners of the running cluster, HAProxy and Serve's own proxy: while it runs, stops and starts."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from cluster.deploy.model_deployments import ENDPOINT
from cluster.local import ray_head
from cluster.local.addresses import ports_of
from tests.conftest import ROOT
from tests.running_cluster import RunningCluster, environment_of, local
from tests.serve_app.edge.test_http import BODY, JDK, replies
from tests.waiting import LONGEST_WAIT_S, until

pytestmark = pytest.mark.launch


@pytest.mark.parametrize("listener", ["api", "fallback_proxy"])
def test_every_listener_ignores_an_offer_to_upgrade_the_protocol(
    running_cluster: RunningCluster, listener: str
) -> None:
    with socket.create_connection(
        ("127.0.0.1", ports_of(running_cluster.settings)[listener]), timeout=LONGEST_WAIT_S
    ) as connection:
        found = replies(connection, JDK + BODY, JDK, BODY)
    assert found.count(b"HTTP/1.1 200") == 2, found[:500]


@pytest.mark.parametrize("listener", ["api", "fallback_proxy"])
def test_a_response_carries_one_request_id_and_its_duration(
    running_cluster: RunningCluster, listener: str
) -> None:
    url = f"http://127.0.0.1:{ports_of(running_cluster.settings)[listener]}/nowhere"
    for headers, ids in (({"x-request-id": "mine"}, ["mine"]), ({}, None)):
        answer = httpx.get(url, headers=headers, timeout=LONGEST_WAIT_S)
        found = answer.headers.get_list("x-request-id")
        assert (answer.status_code, len(found), "openai-processing-ms" in answer.headers) == (404, 1, True)
        assert ids in (None, found)


def test_the_console_and_what_it_shows_of_the_fleet_come_through_the_ingress(
    running_cluster: RunningCluster,
) -> None:
    with httpx.Client(base_url=running_cluster.api, timeout=LONGEST_WAIT_S, follow_redirects=True) as http:
        page = http.get("/console")
        assert (page.status_code, "content-security-policy" in page.headers) == (200, True)
        events = http.get("/v1/overview/events", params={"scope": "cluster", "duration_s": 0}).text
        (line,) = [one for one in events.splitlines() if one.startswith("data: ")]
        fleet = json.loads(line.removeprefix("data: "))["fleet"]
        running = {one["name"]: one["running"] for one in fleet["deployments"]}
        assert (running[ENDPOINT] >= 1, fleet["nodes"]) == (True, 1), fleet
        (cpu,) = [one for one in fleet["resources"] if one["name"] == "CPU"]
        assert 0 < cpu["used"] <= cpu["total"]
        report = http.get("/v1/doctor").json()
        assert [part for part in report["parts"] if part["name"] == "ray" and not part["fine"]] == []


def test_a_killed_haproxy_restarts_within_seconds(running_cluster: RunningCluster) -> None:
    port = running_cluster.settings.api_port
    head = ray_head.running(running_cluster.settings)
    assert head is not None
    (haproxy,) = {
        process.pid
        for process in psutil.Process(head.pid).children(recursive=True)
        for one in process.net_connections("tcp")
        if one.laddr.port == port and one.status == psutil.CONN_LISTEN
    }
    os.kill(haproxy, signal.SIGKILL)
    until(lambda: _status_of(running_cluster, "/readyz") != 200, what="the end of HAProxy")
    until(lambda: _status_of(running_cluster, "/readyz") == 200, what="another HAProxy")


def test_down_tells_a_running_ingest_why_it_ends_and_no_client_gets_404_during_up(
    running_cluster: RunningCluster, tmp_path: Path
) -> None:
    settings, words = running_cluster.settings, random.Random(1)
    for number in range(100):
        (tmp_path / f"{number}.txt").write_text(
            " ".join(words.choice(["pump", "valve", "heron", "tea", str(number)]) for _ in range(8_000))
        )
    command = [sys.executable, "-m", "data_jobs.ingest", str(tmp_path), "--vector-store", "stopped"]
    ingest = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment_of(settings),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    head = ray_head.running(settings)
    assert head is not None
    until(lambda: list(Path(head.folder).glob("drivers/*.json")), what="the ingest to connect to the cluster")
    time.sleep(5)

    down = local("down", settings)

    printed = ingest.communicate(timeout=LONGEST_WAIT_S)[1]
    assert (down.returncode, ingest.returncode) == (0, 1), (down.stderr, printed)
    assert "Ending 1 running command" in down.stderr
    assert "the cluster was stopped (make down)" in printed
    assert (
        printed.splitlines()[-1] == "Documents already written stay; run the same command again to continue."
    )
    assert not Path(head.folder).exists()

    with _polling(running_cluster) as seen:
        up = local("up", settings)
    assert up.returncode == 0, up.stderr
    assert 503 in seen
    assert seen <= {0, 503, 200}
    job = next(
        job
        for job in httpx.get(f"{running_cluster.api}/v1/jobs", timeout=LONGEST_WAIT_S).json()["data"]
        if job["kind"] == "ingest"
    )
    assert job["state"] == "cancelled"
    assert "the cluster was stopped (make down)" in str(job)


def _status_of(cluster: RunningCluster, path: str) -> int:
    """Status code of a GET; 0 without an answer. A 503 must carry ``Retry-After``."""
    try:
        answer = httpx.get(f"{cluster.api}{path}", timeout=10)
    except httpx.TransportError:
        return 0
    if answer.status_code == 503:
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["error"]["code"] == "unavailable"
    return answer.status_code


@contextmanager
def _polling(cluster: RunningCluster) -> Iterator[set[int]]:
    """Status codes that a client receives inside the block when it asks for the models over and over."""
    seen: set[int] = set()
    over = threading.Event()

    def poll() -> None:
        while not over.wait(0.05):
            seen.add(_status_of(cluster, "/v1/models"))

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
