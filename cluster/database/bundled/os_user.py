"""Run Postgres' programs as somebody who is not root: the server refuses to run as root.

A plain user runs them as himself. Root runs them as the owner of the data directory, at first the OS user ``postgres`` or
``nobody``. Where that user could not reach the files because a folder above them is closed (a home or a checkout under
/root), the programs keep one capability that opens folders, and no other: moving the data elsewhere would break the
promise that all of it is under ``home``, and opening /root to others is not ours to do.
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
#: Bits of the capability sets in /proc/self/status (capabilities(7)), the narrower first. Docker grants only the second.
OPENING_CAPABILITIES = {"dac_read_search": 2, "dac_override": 1}


class OsUser(NamedTuple):
    """Numeric ids, as the kernel has them."""

    uid: int
    gid: int


def server_user(data: Path) -> OsUser:
    """Who owns the server's files and runs it.

    Raises:
        Misconfigured: we are root, and there is nobody to run it as.
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
        f"Postgres does not run as root, and there is no OS user {' or '.join(CANDIDATES)}; run as a plain user"
    )


def run_as(
    user: OsUser, command: Sequence[str], *, reach: Iterable[Path]
) -> subprocess.CompletedProcess[str]:
    """Run one of Postgres' programs to its end.

    Args:
        reach: paths the program has to reach.

    Raises:
        Misconfigured: it cannot reach them; the message says what to change.
    """
    if os.geteuid() != 0:
        return _run(command)
    closed = [folder for path in reach for folder in path.resolve().parents if not _opens(folder, user)]
    if not closed:
        return _run(command, user=user.uid, group=user.gid, extra_groups=[])
    setpriv, capability = shutil.which("setpriv"), _opening_capability()
    if setpriv is None or capability is None:
        raise Misconfigured(
            f"{closed[0]} is closed to OS user {user.uid}, who runs Postgres for root; "
            "set CLUSTER_HOME to one open to all (such as /var/lib/embedding-cluster), run as a plain user, or set CLUSTER_DATABASE_URL"
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
    """The caller's, less what would make Postgres' programs look elsewhere, or speak so that we cannot read it."""
    ours = {
        "LC_ALL": "C",
        # A starter may be the kernel's first choice to kill (Ray marks its workers so); the database must not inherit that.
        "PG_OOM_ADJUST_FILE": "/proc/self/oom_score_adj",
        "PG_OOM_ADJUST_VALUE": "0",
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | ours
