"""Read the entries of a ZIP archive with the standard library."""

import stat
import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from lzma import LZMAError

from cluster.records import Outcome
from data_jobs.stages.containers.contract import EntryBudget, FoundEntry
from data_jobs.stages.formats.contract import Unreadable

ENCRYPTED_FLAG, UTF_8_FLAG = 0x1, 0x800
#: Errors with which the library reports damaged entries.
DAMAGED = (zipfile.BadZipFile, zlib.error, LZMAError, EOFError, OSError, ValueError)


def entries(data: bytes, _: str, budget: EntryBudget) -> Iterator[FoundEntry]:
    """Yield the entries in the order of the archive's directory. Directories are left out.

    Raises:
        Unreadable: the directory of the archive is damaged.
        OverLimit: the archive is over a limit.
    """
    try:
        archive = zipfile.ZipFile(BytesIO(data))
    except (*DAMAGED, NotImplementedError) as exc:
        raise Unreadable(Outcome.CORRUPT, f"is a damaged ZIP archive: {exc}") from exc
    with archive:
        found = [info for info in archive.infolist() if not info.is_dir()]
        budget.require(len(found))
        for info in found:
            yield _entry(archive, info, budget)


def _entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: EntryBudget) -> FoundEntry:
    path, mode = _path(info), info.external_attr >> 16
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
        return FoundEntry(path=path, outcome=Outcome.UNSUPPORTED, detail="is a link or a device, not a file")
    if info.flag_bits & ENCRYPTED_FLAG:
        return FoundEntry(path=path, outcome=Outcome.ENCRYPTED, detail="is protected by a password")
    if info.file_size > budget.limits.entry_bytes:
        return budget.too_large(path)
    try:
        with archive.open(info) as file:
            return budget.read(path, file)  # type: ignore[arg-type]
    except NotImplementedError as exc:
        return FoundEntry(path=path, outcome=Outcome.UNSUPPORTED, detail=f"cannot be unpacked: {exc}")
    except (*DAMAGED, RuntimeError) as exc:
        return FoundEntry(path=path, outcome=Outcome.CORRUPT, detail=f"is damaged: {exc}")


def _path(info: zipfile.ZipInfo) -> str:
    """Return the path of an entry. Some programs write UTF-8 without the flag that announces UTF-8. The
    library then reads the path as code page 437, so try UTF-8 first.
    """
    if info.flag_bits & UTF_8_FLAG:
        return info.orig_filename
    try:
        return info.orig_filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.orig_filename
