"""Runs the programs of Postgres as an OS user other than root, because the server refuses to run as root.

A plain user runs them under its own id. Root runs them as the owner of the data directory; for a new one that
is the OS user ``postgres`` or ``nobody``. If a closed folder, such as /root, keeps that user from the files,
the programs keep one capability, which opens folders. The alternatives are worse: data outside ``home``
breaks a promise of the handbook, and opening /root is the operator's decision.
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
#: Bits in the capability sets of /proc/self/status (capabilities(7)), the narrower one first. Docker grants
#: only the second.
OPENING_CAPABILITIES = {"dac_read_search": 2, "dac_override": 1}


class OsUser(NamedTuple):
    """Numeric ids of a user and a group."""

    uid: int
    gid: int


def server_user(data: Path) -> OsUser:
    """Return the OS user that owns the server's files and runs it.

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
    """Run one of Postgres' programs and wait for its end.

    Args:
        user: the OS user that runs it when this process is root.
        command: the program and its arguments.
        reach: paths that the program must be able to open.

    Raises:
        Misconfigured: it cannot open them; the message says what to change.
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
    """Return this process's environment without Postgres' variables, and with messages in English."""
    added = {
        "LC_ALL": "C",
        # Ray marks its workers as the first processes to kill when memory runs out; a server that a worker
        # starts must not inherit the mark.
        "PG_OOM_ADJUST_FILE": "/proc/self/oom_score_adj",
        "PG_OOM_ADJUST_VALUE": "0",
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | added
