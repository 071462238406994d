"""Where documents come from: a file, a folder or a bucket, listed without reading it, and read with a limit.

for source in list_sources("s3://bucket/manuals", left_out=print):
    data = read_source(source.uri, max_bytes=200 << 20)
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import fsspec

from cluster.documents.file_names import shown_name
from cluster.errors import InvalidInput, NotFound
from cluster.vector_index.filters import is_text
from data_jobs.local_files import LeftOut, files_below, read_file, require_regular

#: What an operator may name; http is left out on purpose: fetching pages is the crawler's work, with its own guards.
SCHEMES = frozenset({"file", "s3", "gs", "gcs", "abfs", "az", "memory"})


class SourceTooLarge(InvalidInput):
    """The source has more bytes than the limit; none of them were kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """One file, as listed."""

    #: Absolute; the document's id is made from it.
    uri: str
    #: Bytes, as listed.
    size: int
    #: Changes whenever the content does, as far as the storage can tell (etag, or size and modification time); "" for unknown.
    stamp: str


def list_sources(location: str, *, left_out: LeftOut) -> Iterator[SourceFile]:
    """Everything at or below ``location`` that is not a folder, in order of its name; hidden files and folders are not listed.

    What cannot be read is listed too, so that it ends in an outcome.

    Args:
        left_out: told of folders that cannot be listed, and of keys of a bucket that no ledger can hold.

    Raises:
        InvalidInput: a scheme that is not in ``SCHEMES``, or neither a file nor a folder.
        NotFound: nothing is there.
    """
    uri = absolute(location)
    if uri.startswith("file:"):
        yield from _local(_path(uri), location, left_out)
        return
    filesystem, root = _bucket(uri)
    if not filesystem.exists(root):
        raise NotFound(f"{location}: no such file or folder")
    for name, info in sorted(filesystem.find(root, detail=True).items()):
        if "/." in name.removeprefix(root):
            continue
        if not is_text(name):
            left_out(
                repr(name),
                "the key holds a character that no database can hold (NUL, half of a surrogate pair); rename it",
            )
            continue
        size, version = (
            info.get("size") or 0,
            info.get("ETag") or info.get("etag") or info.get("LastModified") or info.get("mtime"),
        )
        yield SourceFile(
            uri=filesystem.unstrip_protocol(name), size=size, stamp=f"{size}:{version}" if version else ""
        )


def read_source(uri: str, *, max_bytes: int) -> bytes:
    """The file's bytes.

    Raises:
        SourceTooLarge: it has more than ``max_bytes``; reading stops there.
        OSError: it cannot be read, or it is no regular file.
    """
    if uri.startswith("file:"):
        data = read_file(_path(uri), max_bytes=max_bytes)
    else:
        filesystem, path = _bucket(uri)
        with filesystem.open(path, "rb") as file:
            data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise SourceTooLarge(f"larger than {max_bytes:,} bytes; raise CLUSTER_MAX_DOCUMENT_BYTES to take it")
    return data


def file_name(uri: str) -> str:
    """The last part of the path, as a person would write it; bytes that are not UTF-8 and controls as U+FFFD."""
    last = uri.rpartition("/")[2]
    return shown_name(unquote(last) if uri.startswith("file:") else last)


def absolute(location: str) -> str:
    """The location as a URI that means the same on every working directory.

    Raises:
        InvalidInput: a scheme that is not in ``SCHEMES``.
    """
    scheme = urlsplit(location).scheme
    if scheme and "://" in location:
        if scheme not in SCHEMES:
            raise InvalidInput(
                f"{location}: cannot read {scheme}://; use a path or one of {', '.join(sorted(SCHEMES))}"
            )
        return location.rstrip("/")
    return Path(os.path.abspath(Path(location).expanduser())).as_uri()  # without "..": one file has one id


def _path(uri: str) -> str:
    """Byte for byte: a name on a disk need not be UTF-8."""
    return os.fsdecode(unquote_to_bytes(urlsplit(uri).path))


def _bucket(uri: str) -> tuple[Any, str]:
    """The storage, and the path in it. In a key ``::``, ``*``, ``?``, ``#`` and ``%`` are letters like others, not fsspec's syntax."""
    scheme, _, path = uri.partition("://")
    filesystem, _ = fsspec.core.url_to_fs(f"{scheme}://{path.partition('/')[0]}")
    return filesystem, filesystem._strip_protocol(uri)


def _local(path: str, location: str, left_out: LeftOut) -> Iterator[SourceFile]:
    try:
        found = os.stat(path)
        if not stat.S_ISDIR(found.st_mode):
            require_regular(found)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise NotFound(f"{location}: no such file or folder") from exc
    except OSError as exc:
        raise InvalidInput(f"{location}: {exc.strerror}") from exc
    for file in files_below(path, left_out) if stat.S_ISDIR(found.st_mode) else [path]:
        yield _local_source(file)


def _local_source(path: str) -> SourceFile:
    uri = Path(path).as_uri()
    try:
        found = os.stat(path)
    except OSError:  # listed, so that reading it tells why it cannot be read
        return SourceFile(uri=uri, size=0, stamp="")
    return SourceFile(uri=uri, size=found.st_size, stamp=f"{found.st_size}:{found.st_mtime_ns}")
