"""Gives the addresses and ports of a local cluster, and sends HTTP requests to these addresses.

ports_of(settings)["gcs"]          # 6379
get_json("127.0.0.1", 8265, "/api/version")
"""

import http.client
import json
import socket
from typing import Any

from pydantic import SecretStr

from cluster.settings import RAY_PORTS, Settings

LOOPBACK = "127.0.0.1"
#: In place of an HTTP status.
NO_ANSWER = 0
#: Ray's listeners. The first listener uses ``ray_port``, and each further listener uses the next port.
RAY_LISTENERS = (
    "gcs",
    "node_manager",
    "object_manager",
    "dashboard_agent_listen",
    "dashboard_agent_grpc",
    "runtime_env_agent",
    "metrics_export",
    "ray_client_server",
)
#: Serve's listeners, on the ports after Ray's: HAProxy's pages of metrics and statistics, and Serve's proxy.
#: HAProxy passes requests to Serve's proxy while there is no replica.
SERVE_LISTENERS = ("haproxy_metrics", "haproxy_stats", "fallback_proxy")


def ports_of(settings: Settings) -> dict[str, int]:
    """Return every port that a local cluster listens on, by the name of its listener."""
    ray = {name: settings.ray_port + offset for offset, name in enumerate(RAY_LISTENERS + SERVE_LISTENERS)}
    return {"api": settings.api_port, "dashboard": settings.dashboard_port, **ray}


def replica_ports(settings: Settings) -> range:
    """Return the ports on which HAProxy reaches the endpoint's replicas."""
    return range(settings.ray_port + len(RAY_LISTENERS + SERVE_LISTENERS), settings.ray_port + RAY_PORTS)


def api_url(settings: Settings) -> str:
    """Return the base URL of the HTTP endpoint for clients on this machine."""
    return f"http://{reachable(settings.api_host)}:{settings.api_port}"


def dashboard_url(settings: Settings) -> str:
    """Return the URL of the Ray dashboard, which ``ray job submit`` uses too."""
    return f"http://{LOOPBACK}:{settings.dashboard_port}"


def reachable(host: str) -> str:
    """Return the address at which clients on this machine reach a server that listens on ``host``."""
    return LOOPBACK if host in ("0.0.0.0", "::") else host  # noqa: S104  # only compared


def taken(host: str, port: int) -> bool:
    """Return True if a process listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def get_json(host: str, port: int, path: str, *, timeout_s: float = 5.0) -> Any | None:
    """Return the JSON answer to a GET request, or None if there is no answer with status 200."""
    status, body = request("GET", host, port, path, timeout_s=timeout_s)
    return json.loads(body) if status == http.client.OK else None


def request(
    method: str,
    host: str,
    port: int,
    path: str,
    *,
    body: Any = None,
    key: SecretStr | None = None,
    timeout_s: float = 5.0,
) -> tuple[int, str]:
    """Send an HTTP request, and return status and text of the answer. The status is ``NO_ANSWER`` if there is
    none.
    """
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key.get_secret_value()}"
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return NO_ANSWER, ""
    finally:
        connection.close()
