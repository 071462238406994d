"""Read the parts of an office document or an e-book (a ZIP archive), within limits on the unpacked bytes.

    package = Package(data)
    package.read("word/document.xml")       # the bytes of a part
    package.names                           # frozenset({"[Content_Types].xml", "word/document.xml", ...})

The limits are checked before the archive is opened and before a part is unpacked, so a ZIP bomb is
never unpacked. No part is written to disk.
"""

import zlib
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from cluster.records import Outcome
from data_jobs.stages.formats.contract import Unreadable

#: Maximum number of parts of a document. A book of a thousand chapters with a picture in each has 2,000.
MAX_PARTS = 50_000
#: Maximum number of bytes that are unpacked from one document, in all its parts together.
MAX_UNPACKED_BYTES = 384 * 1024 * 1024
#: A part of at least this many bytes must not unpack to more than ``MAX_RATIO`` times its packed size. The
#: XML of sheets shrinks to a twentieth, and to a hundredth if all cells are alike.
RATIO_MATTERS_BYTES, MAX_RATIO = 8 * 1024 * 1024, 200
#: The signature of each entry in the directory of a ZIP archive.
DIRECTORY_ENTRY = b"PK\x01\x02"
#: The bit of an entry's flags that says that the entry is encrypted.
ENCRYPTED = 0x1


class Package:
    """Reads the parts of one document, within limits.

    Raises:
        Unreadable: the bytes are not a whole ZIP archive, or the archive has too many parts.
    """

    def __init__(self, data: bytes) -> None:
        parts = data.count(DIRECTORY_ENTRY)
        if parts > MAX_PARTS:
            raise Unreadable(Outcome.TOO_LARGE, f"has {parts:,} parts; the limit is {MAX_PARTS:,}")
        try:
            self._archive = ZipFile(BytesIO(data))
        except (BadZipFile, ValueError, NotImplementedError, OSError) as exc:
            raise Unreadable(
                Outcome.CORRUPT, "is damaged or cut short: its ZIP archive cannot be opened"
            ) from exc
        self._entries = {info.filename: info for info in self._archive.infolist() if not info.is_dir()}
        # Names of parts are compared without regard to case (ECMA-376 part 2, section 6.2.2).
        self._by_lower = {_lower(name): info for name, info in self._entries.items()}
        self._left = MAX_UNPACKED_BYTES

    @property
    def names(self) -> frozenset[str]:
        """The names of the parts."""
        return frozenset(self._entries)

    def __contains__(self, name: str) -> bool:
        return _lower(name) in self._by_lower

    def read(self, name: str) -> bytes:
        """Return the bytes of a part.

        Raises:
            Unreadable: the part is missing, damaged or encrypted, or is over a limit.
        """
        info = self._entries.get(name) or self._by_lower.get(_lower(name))
        if info is None:
            raise Unreadable(Outcome.CORRUPT, f"is damaged: its part {_shown(name)} is missing")
        self._check_limits(info)
        if info.compress_type not in {ZIP_STORED, ZIP_DEFLATED}:
            raise Unreadable(
                Outcome.CORRUPT,
                f"is damaged: its part {_shown(name)} is packed by a method that is not deflate",
            )
        try:
            return self._archive.read(info)
        except (BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as exc:
            raise Unreadable(
                Outcome.CORRUPT, f"is damaged: its part {_shown(name)} cannot be unpacked"
            ) from exc

    def read_if_whole(self, name: str) -> bytes:
        """Return the bytes of a part that the document does not need; b"" if the part cannot be read.

        Raises:
            Unreadable: the part is over a limit.
        """
        try:
            return self.read(name) if name in self else b""
        except Unreadable as exc:
            if exc.outcome is Outcome.TOO_LARGE:
                raise
            return b""

    def _check_limits(self, info: ZipInfo) -> None:
        if info.flag_bits & ENCRYPTED:
            raise Unreadable(
                Outcome.ENCRYPTED, "is protected by a password: remove the protection and ingest it again"
            )
        # The library never unpacks more than the size that the directory of the archive states.
        self._left -= info.file_size
        packed = max(1, info.compress_size)
        is_bomb = info.file_size >= RATIO_MATTERS_BYTES and info.file_size > MAX_RATIO * packed
        if is_bomb or self._left < 0:
            what = f"its part {_shown(info.filename)} unpacks from {packed:,} to {info.file_size:,} bytes"
            limit = f"the limits are {MAX_RATIO} times the size and {MAX_UNPACKED_BYTES:,} bytes in all parts"
            raise Unreadable(Outcome.TOO_LARGE, f"unpacks to too much: {what}; {limit}")


def _shown(name: str) -> str:
    """Return the name of a part for an error message. The name may be long or hostile."""
    return repr(name if len(name) <= 80 else f"{name[:77]}...")


def _lower(name: str) -> str:
    """Return the name of a part in lower case and with ``/``, because programs write names differently."""
    return name.replace("\\", "/").lower()
