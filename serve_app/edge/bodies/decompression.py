"""Decompresses a body while it arrives, up to a limit. ``body`` uses this module.

decompressor = Decompressor("gzip", max_bytes=8 * MIB)
decompressor.decompress(part, last=False)
"""

import zlib
from http import HTTPStatus

from starlette.exceptions import HTTPException

#: The parameter ``wbits`` of zlib for each coding. Adding 16 makes zlib read the header of gzip (RFC 1952).
WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class Decompressor:
    """Decompresses one body. A gzip body may have several members, as ``cat a.gz b.gz`` produces."""

    def __init__(self, coding: str, *, max_bytes: int) -> None:
        self._coding = coding
        self._max_bytes = max_bytes
        self._bytes_in = self._bytes_out = 0
        self._stream = zlib.decompressobj(WINDOWS[coding])

    def decompress(self, part: bytes, *, last: bool) -> bytes:
        """Return the decompressed bytes of the part.

        Decompression stops when the body has more than ``max_bytes``. The caller must check the length of the
        result.

        Raises:
            HTTPException: 400, the body does not have this coding or ends too early; 413, even the
                compressed body has more than ``max_bytes``.
        """
        self._bytes_in += len(part)
        if self._bytes_in > self._max_bytes:  # a body of empty gzip members has no output, but needs a limit
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the request's body is over {self._max_bytes:,} bytes even while compressed; send less",
            )
        pieces = []
        while self._bytes_out <= self._max_bytes:
            if self._stream.eof and self._coding == "gzip":
                part = part.lstrip(b"\0")  # gzip files may be padded with zeros, for example on tape
                if part:
                    self._stream = zlib.decompressobj(WINDOWS[self._coding])
            if not part:
                break
            pieces.append(self._step(part))
            part = self._stream.unused_data if self._stream.eof else b""
        if last and not self._stream.eof and self._bytes_out <= self._max_bytes:
            raise HTTPException(
                HTTPStatus.BAD_REQUEST, f"the {self._coding} body ends too early; send it whole"
            )
        return b"".join(pieces)

    def _step(self, part: bytes) -> bytes:
        try:
            if self._stream.eof:
                raise zlib.error("bytes follow its end")
            piece = self._stream.decompress(part, self._max_bytes - self._bytes_out + 1)
        except zlib.error as exc:
            message = f"the body is not {self._coding}, although the header Content-Encoding says so: {exc}"
            raise HTTPException(HTTPStatus.BAD_REQUEST, message) from exc
        self._bytes_out += len(piece)
        return piece
