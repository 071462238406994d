"""Decompresses the body of an answer in small steps, so that a small compressed body cannot fill the memory.

    decoder = BodyDecoder("gzip", max_bytes=1_000_000)
    body = decoder.feed(chunk) + decoder.feed(next_chunk)
    decoder.end()

Requests ask for gzip and deflate only. For both, the standard library can stop after a given number of
decompressed bytes.
Bodies in brotli or zstd are refused and never decompressed.
"""

import zlib

from cluster.outbound.errors import NoAnswer, RefusalReason, Refused, TooLarge

#: The compressions that requests ask for.
ACCEPTED = "gzip, deflate"
#: ``wbits`` of zlib for each compression. 15 means the largest window; adding 16 means that the body has a
#: header of gzip.
WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
#: Value of ``wbits`` for a deflate body without the header of zlib. Some servers send such bodies.
RAW_DEFLATE = -15


class BodyDecoder:
    """Decodes one body.

    Args:
        encoding: value of the header ``Content-Encoding``.
        max_bytes: maximum number of bytes before and after decompression.

    Raises:
        Refused: the body is compressed, and not with gzip or deflate.
    """

    def __init__(self, encoding: str, *, max_bytes: int) -> None:
        self._encoding = encoding.strip().lower()
        if self._encoding not in {"", "identity", *WINDOW_BITS}:
            raise Refused(
                f"the answer has a compression other than {ACCEPTED}", reason=RefusalReason.ENCODING
            )
        self._max_bytes = max_bytes
        self._received = 0
        self._decoded = 0
        self._began = False
        self._bits = WINDOW_BITS.get(self._encoding)
        self._unpacker = None if self._bits is None else zlib.decompressobj(self._bits)

    def feed(self, data: bytes) -> bytes:
        """Return the decoded bytes of the next part of the body.

        Raises:
            TooLarge: the body has more than ``max_bytes`` bytes, received or decoded.
            NoAnswer: the compressed data is damaged.
        """
        self._received += len(data)
        if self._received > self._max_bytes:
            raise too_large(self._max_bytes)
        if self._unpacker is None:
            return data
        try:
            return self._unpack(data)
        except zlib.error:
            raise NoAnswer("the compressed body of the answer is damaged") from None

    def end(self) -> None:
        """Check that the body is complete.

        Raises:
            NoAnswer: the compressed data ends too early.
        """
        if self._unpacker is not None and self._began and not self._unpacker.eof:
            raise NoAnswer("the compressed body of the answer ends too early")

    def _unpack(self, data: bytes) -> bytes:
        parts = []
        while data:
            assert self._unpacker is not None
            assert self._bits is not None
            if self._unpacker.eof:  # another member of gzip follows
                self._unpacker = zlib.decompressobj(self._bits)
            part = self._first(data) if not self._began else self._limited(data)
            self._decoded += len(part)
            if self._decoded > self._max_bytes:
                raise too_large(self._max_bytes)
            parts.append(part)
            data = self._unpacker.unused_data
        return b"".join(parts)

    def _first(self, data: bytes) -> bytes:
        """Decompress the first part of the body. If a deflate body has no header of zlib, start again without
        the header.
        """
        self._began = True
        try:
            return self._limited(data)
        except zlib.error:
            if self._bits != WINDOW_BITS["deflate"]:
                raise
            self._bits = RAW_DEFLATE
            self._unpacker = zlib.decompressobj(self._bits)
            return self._limited(data)

    def _limited(self, data: bytes) -> bytes:
        """Decompress the data, but return at most one byte more than the limit permits, so that the caller
        notices a body over the limit.
        """
        assert self._unpacker is not None
        return self._unpacker.decompress(data, self._max_bytes - self._decoded + 1)


def too_large(max_bytes: int) -> TooLarge:
    """Return the error for a body with more than ``max_bytes`` bytes."""
    return TooLarge(f"the answer has more than {max_bytes:,} bytes")
