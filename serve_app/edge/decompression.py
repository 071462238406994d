"""A packed body, unpacked while it arrives and never further than is allowed. Used by ``body``.

unpacker = Unpacker("gzip", most=8 * MIB)
unpacker.unpacked(part, last=False)
"""

import zlib
from http import HTTPStatus

from starlette.exceptions import HTTPException

#: zlib's window for each coding: for gzip (RFC 1952) with the flag that asks for its header.
WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class Unpacker:
    """Of one body. A gzip body may consist of several members, as ``cat a.gz b.gz`` makes one."""

    def __init__(self, coding: str, *, most: int) -> None:
        self._coding = coding
        self._most = most
        self._packed = self._unpacked = 0
        self._stream = zlib.decompressobj(WINDOWS[coding])

    def unpacked(self, part: bytes, *, last: bool) -> bytes:
        """What the part unpacks to. Once it is more than ``most`` in all, unpacking stops; the caller sees that by its length.

        Raises:
            HTTPException: 400, it is not packed as it should be; 413, it is already too long as it comes.
        """
        self._packed += len(part)
        if self._packed > self._most:  # members that hold nothing could otherwise go on for ever
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the request's body is over {self._most:,} bytes even as packed",
            )
        pieces = []
        while self._unpacked <= self._most:
            if self._stream.eof and self._coding == "gzip":
                part = part.lstrip(b"\0")  # gzip pads with zeros where a medium has blocks
                if part:
                    self._stream = zlib.decompressobj(WINDOWS[self._coding])
            if not part:
                break
            pieces.append(self._step(part))
            part = self._stream.unused_data if self._stream.eof else b""
        if last and not self._stream.eof and self._unpacked <= self._most:
            raise HTTPException(HTTPStatus.BAD_REQUEST, f"the {self._coding} body ends too early")
        return b"".join(pieces)

    def _step(self, part: bytes) -> bytes:
        try:
            if self._stream.eof:
                raise zlib.error("something follows its end")
            piece = self._stream.decompress(part, self._most - self._unpacked + 1)
        except zlib.error as exc:
            message = f"the body is not {self._coding}, as content-encoding says: {exc}"
            raise HTTPException(HTTPStatus.BAD_REQUEST, message) from exc
        self._unpacked += len(piece)
        return piece
