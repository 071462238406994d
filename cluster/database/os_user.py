"""Run Postgres' programs as somebody who is not root: the server refuses to run as root.

A plain user runs them as himself. Root runs them as the OS user ``postgres`` or ``nobody``; where that user could not
reach the files because a folder above them is closed (a home under /root), the process keeps the one capability that
opens folders for reading, and no other.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from cluster.errors import Misconfigured

CANDIDATES = ("postgres", "nobody")


@cache
def server_user() -> pwd.struct_passwd | None:
    """The OS user who owns the server's files; None when that is the caller himself."""
    if os.geteuid() != 0:
        return None
    for name in CANDIDATES:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Misconfigured(f"Postgres does not run as root, and there is no OS user {' or '.join(CANDIDATES)}; run as a plain user")


def run_as_server(command: Sequence[str], *, reach: Sequence[Path]) -> subprocess.CompletedProcess[str]:
    """Run one of Postgres' programs to its end, as the server's user.

    Args:
        reach: paths the program has to reach.

    Raises:
        Misconfigured: it cannot, and there is no ``setpriv`` to help.
    """
    # A daemon that keeps our pipes would keep us waiting: it gets none but standard error of its own log.
    return subprocess.run(
        [*_prefix(reach), *command], capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd="/", env=_environment()
    )


def give_to_server(path: Path) -> None:
    """Make the server's user the owner."""
    user = server_user()
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)


def _prefix(reach: Sequence[Path]) -> list[str]:
    user = server_user()
    if user is None:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise Misconfigured(
            "running Postgres for root needs setpriv (package util-linux); run as a plain user, or set CLUSTER_DATABASE_URL"
        )
    prefix = [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    if not all(_open_to_all(folder) for path in reach for folder in path.resolve().parents):
        prefix += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return prefix


def _open_to_all(folder: Path) -> bool:
    return bool(folder.stat().st_mode & 0o001)


def _environment() -> dict[str, str]:
    """The caller's, less what would make Postgres' programs look elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C.UTF-8"}
