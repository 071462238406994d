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
from cluster.local.addresses import LOOPBACK, NO_ANSWER, dashboard_url, get_json, reachable, request
from cluster.settings import Settings

APPLICATIONS = "/api/serve/applications/"
#: Maximum time until Serve answers. The first request starts Serve, which takes minutes on a busy machine.
DEPLOY_TIMEOUT_S = 600.0
#: Maximum time, from the first error, for which Serve may answer with an internal error or not at all. A
#: proxy that Serve replaces causes such an error, and a new proxy may take 45 s to start (``ray.env``).
SERVE_ERROR_LASTS_S = 90.0
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
    """Send the configuration to Serve, and send it again while Serve answers with an internal error or not
    at all.

    The first request starts Serve and waits for its proxies (``serve_start_async`` in Ray 2.60). If Serve
    replaces a proxy during this time, because a busy machine delays the proxy's health checks, the first
    request fails with status 500. Serve keeps running, so a further request succeeds.

    Raises:
        Unavailable: Serve refused the configuration, gave no answer in ``DEPLOY_TIMEOUT_S``, or its errors
            lasted for ``SERVE_ERROR_LASTS_S``.
    """
    began = time.monotonic()
    failed_at = None
    while True:
        status, answer = request(
            "PUT", LOOPBACK, settings.dashboard_port, APPLICATIONS, body=config, timeout_s=DEPLOY_TIMEOUT_S
        )
        if status == HTTPStatus.OK:
            return
        if NO_ANSWER < status < HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Unavailable(f"Ray Serve refused the applications ({status}): {answer[-2000:]}")
        now = time.monotonic()
        failed_at = failed_at or now
        if now - failed_at >= SERVE_ERROR_LASTS_S or now - began >= DEPLOY_TIMEOUT_S:
            failure = (
                f"failed ({status}): {answer[-2000:]}" if status else f"gave no answer in {now - began:.0f} s"
            )
            raise Unavailable(f"Ray Serve at {dashboard_url(settings)} {failure}")
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
