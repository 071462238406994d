"""Deploys the Serve applications on the local cluster, and waits until the endpoint answers.

Like the command ``serve deploy``, this module sends the configuration to Serve's REST API on the dashboard's
port. Serve reports success before it has imported the application, so this module then waits until
``/readyz`` answers with status 200. ``lifecycle`` calls this module.

    deploy(settings, report=print)
"""

import re
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from cluster.deploy.serve_config import serve_config
from cluster.errors import Unavailable
from cluster.local.addresses import LOOPBACK, dashboard_url, get_json, reachable, request
from cluster.settings import Settings

APPLICATIONS = "/api/serve/applications/"
DEPLOY_TIMEOUT_S = 60.0
#: Maximum time for which Serve may answer with an internal error. A proxy that Serve replaces causes such an
#: error, and Serve replaces a proxy within seconds.
SERVE_ERROR_LASTS_S = 30.0
#: Maximum time until the endpoint is ready. It is long enough to load a large model from a slow disk, which
#: takes minutes.
READY_TIMEOUT_S = 600.0
POLL_S = 0.3
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def ready(settings: Settings) -> bool:
    """Return True if the endpoint takes requests."""
    return request("GET", reachable(settings.api_host), settings.api_port, "/readyz")[0] == HTTPStatus.OK


def deploy(settings: Settings, report: Callable[[str], None]) -> None:
    """Deploy the applications with these settings and wait until the endpoint takes requests.

    Raises:
        Unavailable: Serve refused the applications, or they did not become ready; the message says why.
    """
    _send(serve_config(settings), settings)
    deadline, reported = time.monotonic() + READY_TIMEOUT_S, ""
    while not ready(settings):
        states = _states(settings)
        failed = [
            f"{name}: {message}" for name, (state, message) in states.items() if state == "DEPLOY_FAILED"
        ]
        if failed:
            raise Unavailable("the endpoint did not start; its replica reports:\n" + "\n".join(failed))
        summary = ", ".join(
            f"{name} {state.lower().replace('_', ' ')}" for name, (state, _) in states.items()
        )
        if time.monotonic() > deadline:
            raise Unavailable(
                f"the endpoint is not ready after {READY_TIMEOUT_S:.0f} s ({summary or 'no application'}): "
                f"look at {dashboard_url(settings)} under Serve"
            )
        if summary and summary != reported:
            report(f"Endpoint: {summary}")
            reported = summary
        time.sleep(POLL_S)


def _send(config: dict[str, Any], settings: Settings) -> None:
    """Send the configuration to Serve, and send it again while Serve answers with an internal error.

    The first request starts Serve and waits for its proxies (``serve_start_async`` in Ray 2.60). If Serve
    replaces a proxy during this time, because a busy machine delays the proxy's health checks, the first
    request fails with status 500. Serve keeps running, so a further request succeeds.

    Raises:
        Unavailable: Serve refused the configuration or did not answer, or its internal errors lasted for
            ``SERVE_ERROR_LASTS_S``.
    """
    deadline = time.monotonic() + SERVE_ERROR_LASTS_S
    while True:
        status, answer = request(
            "PUT", LOOPBACK, settings.dashboard_port, APPLICATIONS, body=config, timeout_s=DEPLOY_TIMEOUT_S
        )
        if status == HTTPStatus.OK:
            return
        if status < HTTPStatus.INTERNAL_SERVER_ERROR or time.monotonic() > deadline:
            raise Unavailable(f"Ray Serve refused the applications ({status}): {answer[-2000:]}")
        time.sleep(POLL_S)


def _states(settings: Settings) -> dict[str, tuple[str, str]]:
    """Return the state and messages of each application. The messages contain errors of failed replicas."""
    found: Any = get_json(LOOPBACK, settings.dashboard_port, APPLICATIONS) or {}
    states = {}
    for name, application in found.get("applications", {}).items():
        messages = [
            application.get("message", ""),
            *(deployment.get("message", "") for deployment in application.get("deployments", {}).values()),
        ]
        text = "\n".join(message for message in dict.fromkeys(messages) if message)
        states[name] = (application["status"], COLOUR.sub("", text))
    return states
