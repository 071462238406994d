"""The running cluster that the launch and fault tests share. Plugin of ``tests.conftest``."""

import json
import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import pytest
from pydantic import SecretStr

from cluster.engines import Registry
from cluster.engines.weights import open_model_folder
from cluster.local.environment import settings_variables
from cluster.settings import Settings
from cluster.settings.models import ModelSetting
from cluster.settings.values import Table
from tests.cluster.tracing.collector import Collector, collecting
from tests.conftest import FOREIGN_PREFIXES, ROOT, NewHome
from tests.keys_in_output import assert_no_key, marked_fernet_key, marked_key
from tests.waiting import LONGEST_COMMAND_S

#: Variable with a provider's key. Every process of the running cluster has it in its environment.
PROVIDER_KEY = "KEY_OF_A_PROVIDER"
#: A worker without a heartbeat for so long counts as dead. Short, because tests kill workers.
LEASE_S = 5.0
#: A model with a deployment of its own, which has no replica until it is asked.
IDLE_MODEL = "idle/model"
#: Variable with the URL of the collector of spans, while the running cluster is there.
COLLECTOR: dict[str, str] = {}
#: Settings of the running cluster, from the moment of its start.
STARTED = pytest.StashKey[Settings]()
#: Present after a test of the running cluster failed. The test may have left the cluster stopped.
DISTURBED = pytest.StashKey[bool]()


@dataclass(frozen=True, slots=True)
class RunningCluster:
    """A cluster that ``make up`` started, and the environment in which a person works on it."""

    settings: Settings
    environment: dict[str, str]
    #: Receives the spans of requests that ask for them.
    collector: Collector
    #: The two ``up`` commands that started it, run at the same moment.
    ups: list[subprocess.CompletedProcess[str]]

    @property
    def api(self) -> str:
        """Base URL of the endpoint."""
        return f"http://127.0.0.1:{self.settings.api_port}"

    @property
    def dashboard(self) -> str:
        """Address for ``ray job submit`` and ``serve``."""
        return f"http://127.0.0.1:{self.settings.dashboard_port}"


def sends_spans() -> bool:
    """True if the exporter of spans is installed, which is an extra."""
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def environment_of(settings: Settings) -> dict[str, str]:
    """Environment of a person who has activated ``.venv`` and whose variables name this cluster."""
    path = os.pathsep.join([str(ROOT / ".venv" / "bin"), os.environ["PATH"]])
    # Ray sets variables in every process that uses it, and some tests of this process have used it.
    own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_PREFIXES)}
    more = {PROVIDER_KEY: marked_key("sk-"), **COLLECTOR}
    return {**own, **settings_variables(settings), **more, "PATH": path, "COLUMNS": "200"}


def local(command: str, settings: Settings, *more: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m cluster.local COMMAND`` as a person runs it."""
    return subprocess.run(
        [sys.executable, "-m", "cluster.local", command, *more],
        cwd=ROOT,
        env=environment_of(settings),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=LONGEST_COMMAND_S,
    )


def pids(settings: Settings) -> dict[str, int | None]:
    """Process id of each part of the cluster, from ``status --json``."""
    return {
        part["name"]: part["pid"] for part in json.loads(local("status", settings, "--json").stdout)["parts"]
    }


@pytest.fixture(scope="session")
def running_cluster(new_home: NewHome, request: pytest.FixtureRequest) -> Iterator[RunningCluster]:
    """A cluster that two ``up`` commands at the same moment start; it stops at the end of the session."""
    folder = open_model_folder(Registry(Settings()).default).path
    idle = ModelSetting(source=str(folder), min_replicas=0, max_replicas=1)
    scaling = {"upscale_delay_s": 0.0, "downscale_delay_s": 1.0}
    settings = new_home("running").model_copy(
        update={
            "lease_s": LEASE_S,
            "models": Table({IDLE_MODEL: idle}),
            "secret_key": SecretStr(marked_fernet_key()),
            "tracing": sends_spans(),
            **scaling,
        }
    )
    with collecting() as collector:
        COLLECTOR["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
        with ThreadPoolExecutor(2) as pool:
            ups = list(pool.map(lambda _: local("up", settings), range(2)))
        try:
            assert [up.returncode for up in ups] == [0, 0], [up.stderr[-2_000:] for up in ups]
            request.config.stash[STARTED] = settings
            yield RunningCluster(settings, environment_of(settings), collector, ups)
            assert_no_key(settings)  # while its database runs
        finally:
            local("down", settings)
            COLLECTOR.clear()


def uses_it(item: pytest.Item) -> bool:
    """True for a test of the running cluster."""
    return "running_cluster" in getattr(item, "fixturenames", ())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Record that a test of the running cluster failed."""
    report = yield
    if report.failed and uses_it(item):
        item.config.stash[DISTURBED] = True
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Repair the running cluster after a failed test, so that one failure does not cause others."""
    stash = item.config.stash
    if uses_it(item) and STARTED in stash and DISTURBED in stash:
        del stash[DISTURBED]
        repaired = local("up", stash[STARTED])
        assert repaired.returncode == 0, repaired.stderr[-2_000:]
