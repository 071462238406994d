"""Runs the programs of Postgres as an OS user other than root, because the server refuses to run as root.

If this process belongs to a plain user, the programs run as the same user. If this process belongs to root,
the programs run as the owner of the data directory; a new data directory gets the OS user ``postgres`` or
``nobody`` as its owner. If that user cannot reach the files because of a closed folder, such as /root, the
programs keep one capability, which opens folders. The alternatives are to move the files and to open /root.
But the handbook promises that all data is under ``home``, and only the operator may decide to open /root.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cluster.errors import Misconfigured

CANDIDATES = ("postgres", "nobody")
#: Capabilities that open folders, with their bits in the capability sets of /proc/self/status
#: (capabilities(7)). The narrower capability comes first. Docker grants only ``dac_override``.
OPENING_CAPABILITIES = {"dac_read_search": 2, "dac_override": 1}


class OsUser(NamedTuple):
    """Holds the numeric ids of an OS user and the user's group."""

    uid: int
    gid: int


def server_user(data: Path) -> OsUser:
    """Return the OS user that owns the server's files and runs the server.

    Raises:
        Misconfigured: this process is root, and no other OS user exists for the server.
    """
    if os.geteuid() != 0:
        return OsUser(os.geteuid(), os.getegid())
    if data.exists():
        return OsUser(data.stat().st_uid, data.stat().st_gid)
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return OsUser(entry.pw_uid, entry.pw_gid)
    raise Misconfigured(
        f"Postgres does not run as root, and there is no OS user {' or '.join(CANDIDATES)}: "
        "run as a plain user, or create one of them"
    )


def run_as(
    user: OsUser, command: Sequence[str], *, reach: Iterable[Path]
) -> subprocess.CompletedProcess[str]:
    """Run one of Postgres' programs and wait until it ends.

    Args:
        user: the OS user that runs the program if this process is root.
        command: the program and its arguments.
        reach: paths that the program must be able to open.

    Raises:
        Misconfigured: the program cannot open a path; the message says what to change.
    """
    if os.geteuid() != 0:
        return _run(command)
    closed = [folder for path in reach for folder in path.resolve().parents if not _opens(folder, user)]
    if not closed:
        return _run(command, user=user.uid, group=user.gid, extra_groups=[])
    setpriv, capability = shutil.which("setpriv"), _opening_capability()
    if setpriv is None or capability is None:
        raise Misconfigured(
            f"{closed[0]} is closed to OS user {user.uid}, which runs Postgres for root: set CLUSTER_HOME to "
            "a folder open to all users (such as /var/lib/embedding-cluster), run as a plain user, "
            "or set CLUSTER_DATABASE_URL"
        )
    drop = [
        setpriv,
        f"--reuid={user.uid}",
        f"--regid={user.gid}",
        "--clear-groups",
        f"--inh-caps=+{capability}",
        f"--ambient-caps=+{capability}",
    ]
    return _run([*drop, *command])


def _run(command: Sequence[str], **identity: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd="/",
        env=_environment(),
        **identity,
    )


def _opens(folder: Path, user: OsUser) -> bool:
    entry = folder.stat()
    return bool(entry.st_mode & (0o100 if entry.st_uid == user.uid else 0o001))


def _opening_capability() -> str | None:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    held = next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)
    return next((name for name, bit in OPENING_CAPABILITIES.items() if held >> bit & 1), None)


def _environment() -> dict[str, str]:
    """Return this process's environment without Postgres' variables, and with English as the language."""
    added = {
        "LC_ALL": "C",
        # Ray marks its workers as the first processes that the kernel kills when memory runs out. If a worker
        # starts the server, the server must not inherit this mark.
        "PG_OOM_ADJUST_FILE": "/proc/self/oom_score_adj",
        "PG_OOM_ADJUST_VALUE": "0",
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | added
