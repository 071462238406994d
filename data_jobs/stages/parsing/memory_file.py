"""Pass the bytes of a document to the parsing process, in a file in memory that has no name.

with MemoryFile(b"%PDF-1.7 ...") as document:
    socket.send_fds(connection, [request], [document.fileno()])
"""

import os
from typing import Self

from data_jobs.stages.parsing.child_contract import MAX_RESULT_BYTES


class MemoryFile:
    """Holds bytes in a file in memory that has no name."""

    def __init__(self, data: bytes) -> None:
        self._fd = os.memfd_create("document", os.MFD_CLOEXEC)
        with os.fdopen(self._fd, "wb", closefd=False) as file:
            file.write(data)

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._fd

    def read(self) -> bytes:
        """Return the bytes of the file, but at most ``MAX_RESULT_BYTES``."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        with os.fdopen(os.dup(self._fd), "rb") as file:
            return file.read(MAX_RESULT_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        os.close(self._fd)
