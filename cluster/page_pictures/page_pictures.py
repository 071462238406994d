"""Draw pages of documents in processes with limits. The endpoint's route of pictures calls this.

pictures = PagePictures(settings)
png = await pictures.draw(sha256, read, page=12, passage="Only the operator may stop the pump.")
"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict

from cluster.errors import Conflict, NotFound
from cluster.page_pictures.contract import (
    EXIT_NO_PAGE,
    EXIT_UNREADABLE,
    MAX_HEIGHT,
    MAX_PASSAGE_CHARACTERS,
    MAX_WIDTH,
    DrawRequest,
)
from cluster.settings import Settings

PROCESS = "cluster.page_pictures.drawing_process"
#: Processor time of a drawing process in seconds, and the time after which it is killed in any case.
CPU_S, TIMEOUT_S = 10, 60.0
#: Maximum size of a document, and of a picture, in bytes.
MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
MAX_PICTURE_BYTES = 4 * MAX_WIDTH * MAX_HEIGHT
#: Maximum size of the pictures that are kept, in bytes.
KEPT_BYTES = 32 * 1024 * 1024

#: The document's SHA-256, the number of the page, and the passage.
_Key = tuple[str, int, str]


class PagePictures:
    """Draws one picture at a time, and keeps the last pictures. Used on one event loop only.

    Args:
        settings: ``parse_memory_bytes`` limits the address space of a drawing process.
    """

    def __init__(self, settings: Settings) -> None:
        self._memory_bytes = settings.parse_memory_bytes
        self._turn = asyncio.Semaphore(1)
        self._kept: OrderedDict[_Key, bytes] = OrderedDict()

    async def draw(
        self, sha256: str, read: Callable[[], Awaitable[bytes]], *, page: int, passage: str
    ) -> bytes:
        """Return a PNG of the page. If the call is cancelled, kill the process.

        Args:
            sha256: hash of the document, under which the picture is kept.
            read: returns the document; called only if the picture is not kept, and for one picture at a time.
            page: number of the page, counted from 1.
            passage: text to highlight, of which the first ``MAX_PASSAGE_CHARACTERS`` are used; may be "".

        Raises:
            NotFound: the document has no such page.
            Conflict: PDFium cannot read the document or cannot draw the page within the limits.
        """
        key = (sha256, page, passage[:MAX_PASSAGE_CHARACTERS])
        picture = self._kept.get(key)
        if picture is None:
            async with self._turn:
                picture = self._kept.get(key) or await self._drawn(await read(), page, key[2])
        self._keep(key, picture)
        return picture

    def _keep(self, key: _Key, picture: bytes) -> None:
        self._kept[key] = picture
        self._kept.move_to_end(key)
        while sum(map(len, self._kept.values())) > KEPT_BYTES:
            self._kept.popitem(last=False)

    async def _drawn(self, document: bytes, page: int, passage: str) -> bytes:
        request = DrawRequest(page=page, passage=passage, memory_bytes=self._memory_bytes, cpu_s=CPU_S)
        # The process gets no variable of this process, because some contain secrets.
        environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", PROCESS), stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment
        )
        try:
            async with asyncio.timeout(TIMEOUT_S):
                picture = await _answer(process, json.dumps(asdict(request)).encode() + b"\n", document)
                code = await process.wait()
        except TimeoutError:
            code = None
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if code == 0:
            return picture
        if code == EXIT_NO_PAGE:
            raise NotFound(f"the document has no page {page}")
        reason = "is damaged or protected by a password" if code == EXIT_UNREADABLE else _exceeded(page)
        raise Conflict(f"the document {reason}; ask for the text of the page instead")


async def _answer(process: Process, request: bytes, document: bytes) -> bytes:
    """Send the request and the document, and return what the process writes, up to the limit."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(ConnectionError):  # the process may end before it has read the whole document
        process.stdin.write(request)
        process.stdin.write(document)
        await process.stdin.drain()
    process.stdin.close()
    written = bytearray()
    while part := await process.stdout.read(65_536):
        written += part
        if len(written) > MAX_PICTURE_BYTES:
            process.kill()
    return bytes(written)


def _exceeded(page: int) -> str:
    return f"needs more memory or more time than a picture of a page may take (page {page})"
