"""Find the logs of Ray's processes, in the folder of this machine's head or over a cluster's dashboard.

Ray writes what a replica or a worker prints to standard error into ``worker-*.err``, and the output of a
submitted command into ``job-driver-*.log``. The dashboard reads these files on every live node.

    for name, lines in read_folder(logs_folder(settings)): ...
    for name, lines in read_dashboard("10.0.0.5", 8265): ...
"""

import json
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode

from pydantic import SecretStr

from cluster.errors import Unavailable
from cluster.local import ray_head
from cluster.local.addresses import request
from cluster.settings import Settings

#: Patterns for the names of the files that can contain log lines of this project. Ray moves old lines to
#: files with a number at the end of the name, which match, too.
PATTERNS = ("worker-*.err*", "job-driver-*.log*")
TIMEOUT_S = 60.0
#: Maximum number of nodes that Ray lists in one answer.
MAX_NODES = 10_000
#: Ray's State API reads the whole file if a request asks for this number of lines.
ALL_LINES = -1

NamedLines = tuple[str, Iterable[str]]


def logs_folder(settings: Settings) -> Path | None:
    """Return the folder with the logs of the running head. If no head runs, return the folder with the logs
    of the last head; None if this home has no such logs.
    """
    head = ray_head.recorded(settings)
    folders = [Path(head.folder) / "session_latest" / "logs"] if head is not None else []
    return next((one for one in [*folders, settings.home / "logs" / "ray"] if one.is_dir()), None)


def read_folder(folder: Path) -> Iterator[NamedLines]:
    """Yield the name and the lines of each log file in the folder. The lines are read one at a time, because
    a file can be large.
    """
    for pattern in PATTERNS:
        for path in sorted(folder.glob(pattern)):
            with path.open(encoding="utf-8", errors="replace") as lines:
                yield path.name, lines


def read_dashboard(host: str, port: int, token: SecretStr | None = None) -> Iterator[NamedLines]:
    """Yield the address of the node with the name of the file, and the lines, of each log file on each live
    node of a cluster.

    Args:
        host: host of Ray's dashboard.
        port: port of Ray's dashboard.
        token: the token of the cluster, if it has one (``RAY_AUTH_TOKEN``).

    Raises:
        Unavailable: the dashboard does not answer, or refuses the request.
    """

    def get(path: str, **query: str) -> str:
        asked = f"{path}?{urlencode(query)}"
        status, text = request("GET", host, port, asked, key=token, timeout_s=TIMEOUT_S)
        if status != HTTPStatus.OK:
            raise Unavailable(
                f"Ray's dashboard at {host}:{port} answered {asked} with status {status or 'nothing'}; check "
                "--dashboard, and set RAY_AUTH_TOKEN if the cluster has a token"
            )
        return text

    nodes = json.loads(get("/api/v0/nodes", limit=str(MAX_NODES)))["data"]["result"]["result"]
    for node in (one for one in nodes if one["state"] == "ALIVE"):
        for pattern in PATTERNS:
            listed = json.loads(get("/api/v0/logs", node_id=node["node_id"], glob=pattern))["data"]["result"]
            for name in sorted(name for names in listed.values() for name in names):
                text = get("/api/v0/logs/file", node_id=node["node_id"], filename=name, lines=str(ALL_LINES))
                yield f"{node['node_ip']} {name}", text.splitlines()
