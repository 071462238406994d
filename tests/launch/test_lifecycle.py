"""``up``, ``down`` and ``status``: the cluster comes, repairs itself, and goes without a trace; its neighbour notices nothing."""

import json
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from cluster.local import ray_head
from cluster.local.addresses import ports_of
from cluster.settings import Settings
from tests.conftest import NewHome
from tests.launch.conftest import RunningCluster, local

pytestmark = [pytest.mark.launch, pytest.mark.timeout(300)]


def listeners(settings: Settings) -> dict[str, set[str]]:
    """Addresses listened on by the processes of the cluster's Ray, by port name or number."""
    head = ray_head.running(settings)
    assert head is not None
    names = {port: name for name, port in ports_of(settings).items()}
    found: dict[str, set[str]] = {}
    for process in [psutil.Process(head.pid), *psutil.Process(head.pid).children(recursive=True)]:
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                found.setdefault(names.get(connection.laddr.port, str(connection.laddr.port)), set()).add(connection.laddr.ip)
    return found


def pids(settings: Settings) -> dict[str, int | None]:
    """Process id of each part, as ``status --json`` tells it."""
    return {part["name"]: part["pid"] for part in json.loads(local("status", settings, "--json").stdout)["parts"]}


def test_everything_listens_on_the_loopback_interface_only(running_cluster: RunningCluster) -> None:
    found = listeners(running_cluster.settings)

    assert set(ports_of(running_cluster.settings)) <= set(found)
    assert set().union(*found.values()) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def test_up_again_is_harmless_and_quick(running_cluster: RunningCluster) -> None:
    before = pids(running_cluster.settings)

    again = local("up", running_cluster.settings)

    assert (again.returncode, "Already up" in again.stderr) == (0, True), again.stderr
    assert pids(running_cluster.settings) == before


def test_status_says_what_runs_and_where_the_data_is(running_cluster: RunningCluster) -> None:
    shown = local("status", running_cluster.settings)

    assert shown.returncode == 0
    for word in ("Postgres", "Ray", "API", str(running_cluster.settings.home), running_cluster.api):
        assert word in shown.stdout


def test_a_port_somebody_else_uses_is_named(new_home: NewHome) -> None:
    settings = new_home("taken")
    with socket.socket() as other:
        other.bind(("127.0.0.1", settings.dashboard_port))
        other.listen()
        refused = local("up", settings)

    assert refused.returncode == 1
    assert f"{settings.dashboard_port} (dashboard)" in refused.stderr
    assert "CLUSTER_DASHBOARD_PORT" in refused.stderr


@pytest.fixture(scope="module")
def second(new_home: NewHome, running_cluster: RunningCluster) -> Iterator[Settings]:
    """A second cluster on this machine, beside the one that runs; asked for twice at the same moment."""
    settings = new_home("second")
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: local("up", settings), range(2)))
    assert [run.returncode for run in both] == [0, 0], both
    assert sorted("Already up" in run.stderr for run in both) == [False, True]
    yield settings
    local("down", settings)


def test_up_repairs_what_died(second: Settings) -> None:
    head = ray_head.running(second)
    assert head is not None
    os.kill(head.pid, signal.SIGKILL)
    postgres = pids(second)["Postgres"]
    assert postgres is not None
    os.kill(postgres, signal.SIGKILL)

    repaired = local("up", second)

    assert repaired.returncode == 0, repaired.stderr
    assert local("status", second).returncode == 0


def test_down_leaves_nothing_but_data_and_the_neighbour_alone(second: Settings, running_cluster: RunningCluster) -> None:
    neighbour = pids(running_cluster.settings)
    head = ray_head.running(second)
    assert head is not None
    assert Path(head.folder).is_relative_to(Path(tempfile.gettempdir()).resolve())

    stopped = local("down", second)

    assert stopped.returncode == 0, stopped.stderr
    assert not Path(head.folder).exists()
    assert mentioning(second.home) == []
    assert [name for name, port in ports_of(second).items() if answers(port)] == []
    assert {path.name for path in second.home.iterdir()} <= {"postgres", "logs", "postgres.lock", "local.lock"}
    assert local("status", second).returncode == 3
    assert pids(running_cluster.settings) == neighbour
    with urlopen(f"{running_cluster.api}/readyz") as answer:
        assert answer.status == 200
    assert local("down", second).returncode == 0


def mentioning(home: Path) -> list[str]:
    """Command lines of live processes, other than this one, that know the cluster's home."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = Path(f"/proc/{process.pid}/environ").read_bytes()
            known = f"CLUSTER_HOME={home}".encode() in environment or str(home) in process.cwd()
            if known and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (psutil.Error, OSError):
            continue
    return found


def answers(port: int) -> bool:
    """True when somebody listens on the port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_up_with_other_settings_says_how_to_apply_them(running_cluster: RunningCluster) -> None:
    given = {name: getattr(running_cluster.settings, name) for name in running_cluster.settings.model_fields_set}
    other = Settings(**given, keywords_per_document=3)

    again = local("up", other)

    assert again.returncode == 0
    assert "other settings" in again.stderr
