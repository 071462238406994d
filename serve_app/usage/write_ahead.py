"""Write the usage of requests to local files, and read the files that a dead process left.

Each process has a folder of its own under ``CLUSTER_HOME/usage``. The folder has a file ``lock``, which the
process locks while it runs, and numbered files with usage. When the database has the usage of a file, the
file is deleted. If another process can lock ``lock``, the owner of the folder is dead, and the other process
sends the files.

A file has one line for each answered request: a checksum (CRC-32 in 8 hexadecimal digits), a space, and a
JSON array. A line that was not written completely has no newline or a wrong checksum, and is skipped.

    folder = UsageFolder.create(home / "usage")
    line = usage_line(int(time.time()), "acme", None, None, [(UsageSource.HTTP, "m", "embedding", 12)])
"""

import fcntl
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self
from uuid import uuid4
from zlib import crc32

import orjson

#: Version of the format, the first item of each array.
VERSION = 1
LOCK = "lock"
#: Number of bytes before the array: the checksum and a space.
PREFIX_BYTES = 9

#: Work for one request: its source, the model or None, the kind and the quantity.
Use = tuple[str, str | None, str, int]


class NewerFormat(Exception):
    """Raised if a newer version of this project wrote the file."""


class UsageGroup(NamedTuple):
    """The properties by which usage is summed. Each group becomes one event."""

    organisation: str
    #: Id of the API key; None if no key asked for the work.
    key: str | None
    #: Id of the platform's agent; None if the work was done for no agent.
    agent: str | None
    source: str
    model: str | None
    kind: str
    #: Beginning of the minute of the answers, in seconds since 1970.
    minute: int


#: The quantity of each group.
UsageSums = Counter[UsageGroup]


def usage_line(at: int, organisation: str, key: str | None, agent: str | None, uses: Iterable[Use]) -> bytes:
    """Return the line for the work of one request.

    Args:
        at: time of the answer, in seconds since 1970.
        organisation: the organisation that sent the request.
        key: id of the API key; None if the request had no key of an organisation.
        agent: id of the platform's agent; None if the request named no agent.
        uses: the work.
    """
    array = orjson.dumps((VERSION, at, organisation, key, agent, uses))
    return b"%08x %b\n" % (crc32(array), array)


def add_to(
    sums: UsageSums, at: int, organisation: str, key: str | None, agent: str | None, uses: Iterable[Use]
) -> None:
    """Add the work of one request to the sums."""
    minute = at - at % 60
    for source, model, kind, quantity in uses:
        sums[UsageGroup(organisation, key, agent, source, model, kind, minute)] += quantity


def read_sums(file: Path) -> tuple[UsageSums, int]:
    """Return the sums of a file, and the number of lines that were skipped because they are damaged.

    Raises:
        NewerFormat: the file has a line in a newer format.
        OSError: the file cannot be read.
    """
    sums, damaged = UsageSums(), 0
    for line in file.read_bytes().split(b"\n"):
        array = line[PREFIX_BYTES:]
        if line[:PREFIX_BYTES] != b"%08x " % crc32(array):
            damaged += bool(line)
            continue
        version, *values = orjson.loads(array)
        if version != VERSION:
            raise NewerFormat(f"{file} has a line in format {version}; this version reads {VERSION}")
        add_to(sums, *values)
    return sums, damaged


class UsageFolder:
    """The folder of one process, which this process has locked.

    Args:
        path: path of the folder.
        lock: descriptor of the locked file.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def create(cls, root: Path) -> Self:
        """Create a folder for this process, and lock it.

        Raises:
            OSError: the folder cannot be created.
        """
        name = uuid4().hex
        # Other processes ignore a hidden folder. So the folder is locked before they can see it.
        hidden = root / f".{name}"
        hidden.mkdir(parents=True, mode=0o700)
        lock = os.open(hidden / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            hidden.rename(root / name)
        except OSError:
            os.close(lock)
            raise
        return cls(root / name, lock)

    @classmethod
    def adopt(cls, path: Path) -> Self | None:
        """Lock the folder of another process. Return None if its process is alive, or if a third process has
        sent the files already.

        Raises:
            OSError: the lock cannot be read.
        """
        try:
            lock = os.open(path / LOCK, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return cls(path, lock)

    def files(self) -> Sequence[int]:
        """Return the numbers of the files, in their order."""
        with suppress(FileNotFoundError):
            return sorted(int(file.name) for file in self.path.iterdir() if file.name.isdecimal())
        return ()

    def file(self, number: int) -> Path:
        """Return the path of a file."""
        return self.path / f"{number:08}"

    def store(self, number: int, sums: UsageSums) -> None:
        """Replace the file by a file with one line for each group, and write it to the disk.

        Raises:
            OSError: the file cannot be written. Then the old file is unchanged.
        """
        new = self.file(number).with_suffix(".new")
        try:
            with new.open("wb") as file:
                for group, quantity in sums.items():
                    use = (group.source, group.model, group.kind, quantity)
                    file.write(usage_line(group.minute, group.organisation, group.key, group.agent, [use]))
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.file(number))
        except OSError:
            new.unlink(missing_ok=True)
            raise
        self.sync()

    def sync(self) -> None:
        """Write the names of the files to the disk.

        Raises:
            OSError: the disk fails.
        """
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Delete the folder unless it has files with usage, and unlock it."""
        with suppress(OSError):
            if not self.files():
                for file in self.path.iterdir():
                    file.unlink()
                self.path.rmdir()
        os.close(self._lock)


def folders(root: Path) -> list[Path]:
    """Return the folders of all processes of this machine."""
    with suppress(FileNotFoundError):
        return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    return []
