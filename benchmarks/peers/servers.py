"""The parties of ``benchmarks.endpoint`` and ``benchmarks.soak``: servers, of which one runs at a time.

with running(OURS) as server:
    server.client.ask({...})
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.peers import infinity
from cluster.database import bundled
from cluster.engines import Registry
from cluster.engines.weights import open_model_folder
from cluster.local.environment import MARK
from cluster.local.processes import family
from cluster.settings import RAY_PORTS, Settings
from tests.conftest import free_ports
from tests.launch.production_cluster import production

ROOT = Path(__file__).parent.parent.parent
MODEL = "all-MiniLM-L6-v2"
#: The same for all parties. Threads that wait by spinning would take the cores of others.
ENVIRONMENT = {"GOMP_SPINCOUNT": "0", "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "true"}
START_TIMEOUT_S = 180.0
BASE64 = {"encoding_format": "base64"}


class CommandedProcess:
    """A process that reads commands as JSON lines, and answers each with a JSON line.

    Args:
        module: the module that the process runs; without a dot, a module of ``benchmarks.peers``.
        variables: environment variables of the process.
        options: options of the command line of the process.
    """

    def __init__(self, module: str, variables: Mapping[str, str], *options: str) -> None:
        self._module = module if "." in module else f"benchmarks.peers.{module}"
        pipes: dict[str, Any] = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.DEVNULL,
        }
        command, environment = (
            [sys.executable, "-m", self._module, *options],
            {**os.environ, **ENVIRONMENT, **variables},
        )
        self._process = subprocess.Popen(command, env=environment, cwd=ROOT, text=True, **pipes)
        self._answer()

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Send a command; returns the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise SystemExit(f"{self._module} ended; run it alone to see why")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerParty:
    """Describes a server that can be started."""

    name: str
    #: ours, production (ours behind Ray Serve and HAProxy), infinity or naive.
    kind: str
    #: Environment variables of the server.
    variables: Mapping[str, str] = field(default_factory=dict)
    #: Fields of its requests beside ``input`` and ``model``: base64 where the server supports it, as OpenAI's
    #: clients ask for it.
    fields: Mapping[str, str] = field(default_factory=lambda: BASE64)


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A server that runs."""

    party: ServerParty
    #: URL of the route that embeds.
    url: str
    processes: Callable[[], list[psutil.Process]]

    def request(self, texts: str | Sequence[str]) -> dict[str, Any]:
        """A request in the form that ``peers.client`` sends."""
        body = json.dumps({"model": MODEL, "input": texts, **self.party.fields})
        return {"body": body, "vectors": 1 if isinstance(texts, str) else len(texts)}

    def processor_s(self) -> float:
        """Processor time that its processes have used, in seconds."""
        return sum(
            times.user + times.system for times in (process.cpu_times() for process in self.processes())
        )

    def memory_bytes(self) -> int:
        """Resident memory of its processes; shared memory counts once per process."""
        return sum(process.memory_info().rss for process in self.processes())


OUR_FIELDS = {**BASE64, "overflow": "truncate"}
OURS = ServerParty(
    name="ours, float32", kind="ours", fields=OUR_FIELDS, variables={"CLUSTER_PRECISION": "float32"}
)
OURS_BF16 = ServerParty(
    name="ours, bfloat16", kind="ours", fields=OUR_FIELDS, variables={"CLUSTER_PRECISION": "bfloat16"}
)
OURS_UNCACHED = ServerParty(
    name="ours, float32, no cache",
    kind="ours",
    fields=OUR_FIELDS,
    variables={"CLUSTER_VECTOR_CACHE_BYTES": "0"},
)
PRODUCTION = ServerParty(name="ours, float32, Ray Serve and HAProxy", kind="production", fields=OUR_FIELDS)
INFINITY = ServerParty(name="infinity 0.0.78", kind="infinity", variables=infinity.VARIABLES)
NAIVE = ServerParty(name="FastAPI and encode", kind="naive", variables={"HF_HUB_OFFLINE": "1"}, fields={})


@contextmanager
def running(party: ServerParty, *, options: Sequence[str] = ()) -> Iterator[Server]:
    """Run the server of a party; it is ready in the block, and stopped after it.

    Args:
        party: the server to run.
        options: options of ``peers.our_endpoint``.
    """
    start = _production if party.kind == "production" else _process
    with start(party, options) as server:
        yield server


@contextmanager
def _process(party: ServerParty, options: Sequence[str]) -> Iterator[Server]:
    (port,) = free_ports(1)
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="ec-bench-"))
        log = stack.enter_context((Path(home) / "log").open("w+"))
        environment = {**os.environ, **ENVIRONMENT, **party.variables, "CLUSTER_HOME": home}
        process = psutil.Popen(
            _command(party, port, options), env=environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        probe = (
            f"http://127.0.0.1:{port}/v1/models"
            if party.kind == "infinity"
            else f"http://127.0.0.1:{port}/healthz"
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(probe):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{party.name} did not start:\n{Path(log.name).read_text()[-2000:]}")
            time.sleep(0.2)
        url = f"http://127.0.0.1:{port}/v1/embeddings"
        yield Server(party=party, url=url, processes=lambda: [process, *process.children(recursive=True)])


def _command(party: ServerParty, port: int, options: Sequence[str]) -> list[str]:
    if party.kind == "infinity":
        return infinity.command(
            port, weights=open_model_folder(Registry(Settings()).default).path, name=MODEL
        )
    module = {"ours": "our_endpoint", "naive": "naive"}[party.kind]
    return [sys.executable, "-m", f"benchmarks.peers.{module}", "--port", str(port), *options]


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.HTTPError:
        return False


@contextmanager
def _production(party: ServerParty, _: Sequence[str]) -> Iterator[Server]:
    """The cluster of the launch tests, on the CPU and with the settings of the other parties."""
    (api_port, dashboard_port), (ray_port,) = free_ports(2), free_ports(1, width=RAY_PORTS)
    with tempfile.TemporaryDirectory(prefix="ec-bench-") as home:
        settings = Settings(
            home=Path(home), api_port=api_port, dashboard_port=dashboard_port, ray_port=ray_port, device="cpu"
        )
        try:
            with production(settings) as cluster:
                folder = str(cluster.folder)
                yield Server(
                    party=party,
                    url=f"{cluster.api}/v1/embeddings",
                    processes=lambda: family(MARK, folder),
                )
        finally:
            bundled.stop(settings)


@contextmanager
def client() -> Iterator[CommandedProcess]:
    """Run the client process, which makes the load."""
    with closing(CommandedProcess("client", {})) as process:
        yield process
