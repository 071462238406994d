"""Gives clusters of the tests a Postgres with the schema. ``initdb`` and the migrations run once for each run
of the tests, and each cluster copies the files.

The copies write without ``fsync``, which takes most of the time of a short transaction. A test may still kill
the server, because the kernel keeps what a killed process has written.
"""

import fcntl
import os
import subprocess
from pathlib import Path

from cluster.database import bundled, open_pool
from cluster.database.bundled import data_directory
from cluster.database.bundled.data_directory import Files
from cluster.database.row_access import OWNER
from cluster.settings import Settings

CONFIGURATION = "fsync = off\nfull_page_writes = off\n"


def copy_postgres(home: Path, base: Path) -> None:
    """Copy the files of a stopped server with the schema to the folder of a new cluster.

    Args:
        home: the folder of the cluster.
        base: the temporary folder of this process of the tests.
    """
    subprocess.run(["cp", "-a", str(_original(base) / "postgres"), str(home)], check=True)


def _original(base: Path) -> Path:
    """The folder of the server that is copied. The first process that needs it makes it."""
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    original = shared / "original-postgres"
    with (shared / "original-postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not original.exists():
            draft = shared / "draft-of-postgres"
            _make(draft)
            draft.rename(original)
    return original


def _make(home: Path) -> None:
    settings, files = Settings(home=home), Files(home / "postgres")
    home.mkdir()
    data_directory.initialise(files)
    (files.data / "postgresql.auto.conf").write_text(CONFIGURATION)
    try:
        open_pool(settings, access=OWNER).close()
    finally:
        bundled.stop(settings)
    files.port.unlink()  # each copy chooses a port of its own
    files.log.unlink()
