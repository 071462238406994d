"""What every test may ask for: settings of a cluster of its own, the real bundled Postgres, an organisation nobody else uses."""

import os
import random
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from psycopg_pool import ConnectionPool

from cluster.database import bundled, open_pool
from cluster.organisations.organisations import ensure_organisation
from cluster.settings import RAY_PORTS, RAY_WORKER_PORTS, Settings

ROOT = Path(__file__).resolve().parent.parent
#: A developer's own settings must not reach a test, and neither must a Postgres or a Ray of his.
FOREIGN_PREFIXES = ("CLUSTER_", "RAY_", "PG")
#: Linux takes the ports of outgoing connections from here on.
EPHEMERAL_PORTS_START = 32_768

for name in [name for name in os.environ if name.startswith(FOREIGN_PREFIXES)]:
    del os.environ[name]
#: What settings without a home keep there, the timings of an engine's paths, is not the developer's.
DATA = tempfile.TemporaryDirectory(prefix="ec-tests-")
os.environ["XDG_DATA_HOME"] = DATA.name

NewHome = Callable[[str], Settings]

pytest_plugins = ["tests.running_cluster"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes comes last, and at the very end what needs the running cluster: nothing else has to run beside it."""
    items.sort(
        key=lambda item: (
            "running_cluster" in getattr(item, "fixturenames", ()),
            item.get_closest_marker("launch") is not None,
        )
    )


@pytest.fixture(autouse=True)
def log_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test that configures the log of its process, as every command does, changes no other test's."""
    configure = structlog.configure
    # A module that kept its logger would keep it in all later tests.
    monkeypatch.setattr(
        structlog, "configure", lambda **how: configure(**{**how, "cache_logger_on_first_use": False})
    )
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def new_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewHome]:
    """``new_home("b")`` gives the settings of another cluster on this machine; its Postgres is stopped in the end."""
    made: list[Settings] = []

    def make(name: str) -> Settings:
        (api_port, dashboard_port), (ray_port,) = free_ports(2), free_ports(1, width=RAY_PORTS)
        home = tmp_path_factory.mktemp(name)
        made.append(
            Settings(
                home=home,
                api_port=api_port,
                dashboard_port=dashboard_port,
                ray_port=ray_port,
                log_level="WARNING",
            )
        )
        return made[-1]

    yield make
    for settings in made:
        bundled.stop(settings)


@pytest.fixture(scope="session")
def settings(new_home: NewHome) -> Settings:
    """The cluster that the tests share: tests keep apart by ``organisation``."""
    return new_home("home")


@pytest.fixture(scope="session")
def pool(settings: Settings) -> Iterator[ConnectionPool]:
    """Connections to the shared cluster's Postgres, with the schema."""
    pool = open_pool(settings)
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def database_url(settings: Settings, pool: ConnectionPool) -> str:
    """URL of that Postgres."""
    return bundled.start(settings)


@pytest.fixture
def organisation(pool: ConnectionPool) -> str:
    """Id of an organisation made for this test."""
    return new_organisation(pool)


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Folder with the 20 real PDFs."""
    folder = ROOT.parent / "shared" / "corpus" / "small"
    if not folder.is_dir():
        pytest.skip(f"the real PDFs are not at {folder}")
    return folder


def new_organisation(pool: ConnectionPool) -> str:
    """Id of an organisation nobody else uses."""
    id = f"org-{uuid4().hex[:12]}"
    with pool.connection() as connection:
        ensure_organisation(connection, id)
    return id


def kill_postmaster(settings: Settings, how: signal.Signals = signal.SIGKILL) -> None:
    """Send the postmaster of this home a signal; its backends go with it."""
    postmaster = bundled.status(settings).pid
    assert postmaster is not None, "no Postgres to kill"
    os.kill(postmaster, how)


#: First and last of those handed out already: whoever asked may not listen yet.
GIVEN: list[tuple[int, int]] = []


def free_ports(count: int, *, width: int = 1) -> list[int]:
    """The first of each run of so many ports nobody listens on, where neither Ray's workers nor outgoing connections come; never twice."""
    found: list[int] = []
    while len(found) < count:
        first = random.randrange(RAY_WORKER_PORTS.stop, EPHEMERAL_PORTS_START - width)
        last = first + width - 1
        if all(last < other or end < first for other, end in GIVEN) and all(
            free(port) for port in range(first, last + 1)
        ):
            GIVEN.append((first, last))
            found.append(first)
    return found


def free(port: int) -> bool:
    """True when nobody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
