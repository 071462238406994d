"""Mounts small file systems that a test fills and empties: a full disk needs no simulation then."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A mounted file system of a few hundred kilobytes.

    Args:
        folder: its mount point.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Write until no byte is free."""
        with self._filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\1" * 4096)
            except OSError:
                return

    def make_room(self) -> None:
        """Undo ``fill`` and ``stop_writes``: writes succeed again."""
        self._remount("rw")
        self._filler.unlink(missing_ok=True)

    def stop_writes(self) -> None:
        """Remount the file system read-only, as the kernel does with a broken disk."""
        self._remount("ro")

    def _remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.folder)], check=True)


@contextmanager
def small_disk(folder: Path, *, kib: int) -> Iterator[SmallDisk]:
    """Mount a file system inside the block; skip the test on machines that allow no mounts."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kib}k,mode=0755", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
    )
    if made.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
