"""One running cluster for all launch tests: starting Ray takes longer than most of them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.local import ray_head
from cluster.settings import Settings
from tests.conftest import FOREIGN_PREFIXES, ROOT, NewHome


@dataclass(frozen=True, slots=True)
class RunningCluster:
    """What ``make up`` brought up, and the environment in which a person works on it."""

    settings: Settings
    environment: dict[str, str]

    @property
    def api(self) -> str:
        """Base URL of the endpoint."""
        return f"http://127.0.0.1:{self.settings.api_port}"

    @property
    def dashboard(self) -> str:
        """Address for ``ray job submit`` and ``serve``."""
        return f"http://127.0.0.1:{self.settings.dashboard_port}"


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment of a person who has activated ``.venv`` and means this cluster."""
    path = os.pathsep.join([str(ROOT / ".venv" / "bin"), os.environ["PATH"]])
    # Ray writes variables of its own into a process that used it, as the tests of the pipeline do.
    own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_PREFIXES)}
    return {**own, **ray_head.settings_variables(settings), "PATH": path, "COLUMNS": "200"}


def local(command: str, settings: Settings, *more: str) -> subprocess.CompletedProcess[str]:
    """``python -m cluster.local`` as a person runs it."""
    return subprocess.run(
        [sys.executable, "-m", "cluster.local", command, *more],
        cwd=ROOT,
        env=environment_of(settings),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=240,
    )


@pytest.fixture(scope="session")
def running_cluster(new_home: NewHome) -> Iterator[RunningCluster]:
    """Up for the session, stopped in the end."""
    settings = new_home("running")
    started = local("up", settings)
    try:
        assert started.returncode == 0, started.stderr
        yield RunningCluster(settings, environment_of(settings))
    finally:
        local("down", settings)


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A folder with two readable files and one that is not."""
    folder = tmp_path / "manuals"
    folder.mkdir()
    (folder / "pump.md").write_text("# The pump\n\nOnly the shift supervisor may stop the pump. Valve 17 is closed first.\n")
    (folder / "tea.txt").write_text("Tea is served in the canteen at four in the afternoon, with biscuits on Fridays.\n")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog")
    return folder
