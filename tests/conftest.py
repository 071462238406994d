"""Fixtures of every test: settings of a cluster, the bundled Postgres with the schema, a new organisation."""

import gc
import os
import random
import signal
import socket
import sys
import tempfile
from collections.abc import Generator, Iterator
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import hypothesis
import pytest
import structlog
from hypothesis import HealthCheck
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import bundled, open_pool
from cluster.database.row_access import OWNER
from cluster.organisations.organisations import ensure_organisation
from cluster.settings import RAY_PORTS, RAY_WORKER_PORTS, Settings
from tests.copied_postgres import copy_postgres
from tests.keys_in_output import assert_no_key, pytest_runtest_makereport  # noqa: F401  a hook

ROOT = Path(__file__).resolve().parent.parent
#: Prefixes of the variables that would bring a developer's own settings, Ray, Postgres, OpenMP or
#: OpenTelemetry into a test.
FOREIGN_PREFIXES = ("CLUSTER_", "RAY_", "PG", "OMP_", "GOMP_", "OTEL_")
#: Linux takes the ports of outgoing connections from here on.
EPHEMERAL_PORTS_START = 32_768


class WithoutPyMuPDF(MetaPathFinder):
    """Skips the test modules that import PyMuPDF, because an operator may choose to install no PyMuPDF."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pymupdf":
            pytest.skip("PyMuPDF is not installed; it draws the PDFs of these tests", allow_module_level=True)


for name in [name for name in os.environ if name.startswith(FOREIGN_PREFIXES)]:
    del os.environ[name]
# OpenMP's threads sleep while they wait, as in every process of the cluster: spinning takes cores from other
# tests. OpenMP reads these variables while torch is loaded.
os.environ.update({"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"})
#: The outcome of a scanned document must not depend on whether Tesseract is installed.
os.environ["CLUSTER_OCR"] = "off"
if find_spec("pymupdf") is None:
    os.environ["CLUSTER_PDF_PARSER"] = "pdfium"
    sys.meta_path.insert(0, WithoutPyMuPDF())
#: Settings without a home keep the timings of an engine's paths here, not in the developer's own folder.
DATA = tempfile.TemporaryDirectory(prefix="ec-tests-")
os.environ["XDG_DATA_HOME"] = DATA.name
# On a slow machine, an example of a generated test may take any time.
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")


class NewHome(Protocol):
    """Makes the settings of another cluster."""

    def __call__(self, name: str, *, with_database: bool = False) -> Settings:
        """Return settings with a new folder, and with the files of a Postgres with the schema on request."""


pytest_plugins = ["tests.running_cluster", "tests.side_by_side"]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector away from the million objects that imports and the collection create.

    To search them takes a fifth of the collection, and a tenth of many tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def log_plainly() -> None:
    """Configure the log of the tests: structlog's own form, but tracebacks without the values of variables.

    structlog's default prints the values. A single traceback of a worker then took a minute, in which the
    event loop of the worker ran no job.
    """
    structlog.reset_defaults()
    *shared, _ = structlog.get_config()["processors"]
    render = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*shared, render])


log_plainly()


@pytest.fixture(autouse=True)
def restored_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo a test's configuration of the log, so that it changes no other test's."""
    configure = structlog.configure
    # A module that kept its logger would keep it in all later tests.
    monkeypatch.setattr(
        structlog, "configure", lambda **how: configure(**{**how, "cache_logger_on_first_use": False})
    )
    yield
    log_plainly()


@pytest.fixture(scope="session")
def new_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewHome]:
    """``new_home("b")`` makes the settings of another cluster. The end of the session stops its Postgres."""
    made: list[Settings] = []

    def make(name: str, *, with_database: bool = False) -> Settings:
        (api_port, dashboard_port), (ray_port,) = free_ports(2), free_ports(1, width=RAY_PORTS)
        home = tmp_path_factory.mktemp(name)
        if with_database:
            copy_postgres(home, tmp_path_factory.getbasetemp())
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
    try:
        for settings in made:
            assert_no_key(settings)
    finally:
        for settings in made:
            bundled.stop(settings)


@pytest.fixture(scope="session")
def settings(new_home: NewHome) -> Settings:
    """The cluster that the tests of a process share. Each test works in an ``organisation`` of its own."""
    return new_home("home", with_database=True)


@pytest.fixture(scope="session")
def pool(settings: Settings) -> Iterator[ConnectionPool]:
    """Connections to the shared cluster's Postgres, with the schema."""
    pool = open_pool(settings, access=OWNER)
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def database_url(settings: Settings, pool: ConnectionPool) -> str:
    """URL of that Postgres."""
    return bundled.start(settings)


@pytest.fixture
def connection(pool: ConnectionPool) -> Iterator[Connection[Any]]:
    """A connection that commits each statement."""
    with pool.connection() as connection:
        connection.autocommit = True
        yield connection
        connection.autocommit = False


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


#: The test module that made an organisation, by the id of the organisation.
MADE_BY: dict[str, str] = {}


def new_organisation(pool: ConnectionPool) -> str:
    """Id of a new organisation, which no other test uses."""
    id = f"org-{uuid4().hex[:12]}"
    with pool.connection() as connection:
        ensure_organisation(connection, id)
    MADE_BY[id] = current_module()
    return id


def current_module() -> str:
    """The path of the test module that runs."""
    return os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[0]


def kill_postmaster(settings: Settings, how: signal.Signals = signal.SIGKILL) -> None:
    """Send the postmaster of this home a signal. Its backends end with it."""
    postmaster = bundled.status(settings).pid
    assert postmaster is not None, "no Postgres to kill"
    os.kill(postmaster, how)


def open_to_other_users(path: Path) -> None:
    """Let other OS users, such as the one of Postgres, pass through every folder above this path."""
    for folder in path.parents:
        if (mode := folder.stat().st_mode) & 0o011 != 0o011:
            folder.chmod(mode | 0o011)


#: First and last port of each range that ``free_ports`` has returned: its user may not listen yet.
RESERVED: list[tuple[int, int]] = []


def free_ports(count: int, *, width: int = 1) -> list[int]:
    """First ports of ``count`` ranges of ``width`` ports on which no process listens.

    Ray's workers and outgoing connections use other ports. No range is returned twice, not even to another
    process of the same run.
    """
    number, processes = process_number()
    share = (EPHEMERAL_PORTS_START - RAY_WORKER_PORTS.stop) // processes
    start = RAY_WORKER_PORTS.stop + number * share
    found: list[int] = []
    while len(found) < count:
        first = random.randrange(start, start + share - width)
        last = first + width - 1
        if all(last < other or end < first for other, end in RESERVED) and all(
            free(port) for port in range(first, last + 1)
        ):
            RESERVED.append((first, last))
            found.append(first)
    return found


def process_number() -> tuple[int, int]:
    """Number of this process and how many processes run the tests: (0, 1) without pytest-xdist."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    return int(worker.removeprefix("gw")), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def free(port: int) -> bool:
    """True when no process listens on this port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
