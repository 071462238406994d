"""``up`` starts the cluster and repairs it, and ``status`` describes it. ``test_demo`` shows how it stops."""

import os
import signal
import socket
from pathlib import Path

import psutil
import pytest

from cluster.local import ray_head
from cluster.local.addresses import ports_of
from cluster.local.environment import NICE
from cluster.settings import Settings
from tests.conftest import NewHome, kill_postmaster
from tests.running_cluster import RunningCluster, local, pids

pytestmark = pytest.mark.launch


def listeners(settings: Settings) -> dict[str, set[str]]:
    """Addresses on which the cluster's Ray listens, by port name, or by number where the port has no name."""
    head = ray_head.running(settings)
    assert head is not None
    names = {port: name for name, port in ports_of(settings).items()}
    found: dict[str, set[str]] = {}
    for process in [psutil.Process(head.pid), *psutil.Process(head.pid).children(recursive=True)]:
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                found.setdefault(names.get(connection.laddr.port, str(connection.laddr.port)), set()).add(
                    connection.laddr.ip
                )
    return found


def test_everything_listens_on_the_loopback_interface_only(running_cluster: RunningCluster) -> None:
    found = listeners(running_cluster.settings)

    assert set(ports_of(running_cluster.settings)) <= set(found)
    assert set().union(*found.values()) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def test_two_up_commands_at_once_start_one_cluster(running_cluster: RunningCluster) -> None:
    assert sorted("already up" in up.stderr for up in running_cluster.ups) == [False, True]


def test_up_again_is_harmless_and_quick(running_cluster: RunningCluster) -> None:
    before = pids(running_cluster.settings)

    again = local("up", running_cluster.settings)

    assert (again.returncode, "already up" in again.stderr) == (0, True), again.stderr
    assert pids(running_cluster.settings) == before


def test_ray_runs_at_a_lower_priority_than_the_database_and_other_programs(
    running_cluster: RunningCluster,
) -> None:
    head = ray_head.running(running_cluster.settings)
    assert head is not None
    group = Path(f"/proc/{head.pid}/autogroup")
    if not group.exists() or not group.read_text():
        pytest.skip("this kernel does not divide the processors between sessions")

    assert group.read_text().endswith(f"nice {NICE}\n")


def test_status_shows_what_runs_and_where_the_data_is(running_cluster: RunningCluster) -> None:
    shown = local("status", running_cluster.settings)

    assert shown.returncode == 0
    for word in ("Postgres", "Ray", "API", str(running_cluster.settings.home), running_cluster.api):
        assert word in shown.stdout


def test_up_names_a_port_that_another_program_uses(new_home: NewHome) -> None:
    settings = new_home("taken")
    with socket.socket() as other:
        other.bind(("127.0.0.1", settings.dashboard_port))
        other.listen()
        refused = local("up", settings)

    assert refused.returncode == 1
    assert f"{settings.dashboard_port} (dashboard)" in refused.stderr
    assert "CLUSTER_DASHBOARD_PORT" in refused.stderr


def test_up_with_other_settings_says_how_to_apply_them(running_cluster: RunningCluster) -> None:
    current = {
        name: getattr(running_cluster.settings, name) for name in running_cluster.settings.model_fields_set
    }
    other = Settings(**current, keywords_per_document=3)

    again = local("up", other)

    assert again.returncode == 0
    assert "other settings" in again.stderr


def test_up_restarts_the_parts_that_died(running_cluster: RunningCluster) -> None:
    settings = running_cluster.settings
    head = ray_head.running(settings)
    assert head is not None
    os.kill(head.pid, signal.SIGKILL)
    kill_postmaster(settings)

    repaired = local("up", settings)

    assert repaired.returncode == 0, repaired.stderr
    assert local("status", settings).returncode == 0
