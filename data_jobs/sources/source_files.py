"""List and read the sources of documents: a file, a folder or a bucket.

Listing a source reads no content; reading has a limit on bytes.

for source in list_sources("s3://bucket/manuals", on_left_out=print):
    data = read_source(source.uri, max_bytes=200 << 20)
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

import fsspec

from cluster.documents.file_names import shown_name
from cluster.errors import InvalidInput, NotFound
from cluster.text.storable_text import is_text
from data_jobs.sources.local_files import OnLeftOut, files_below, read_file, require_regular

#: Schemes that a location may have. http is not allowed, because fetching pages would need a guard against
#: internal addresses.
SCHEMES = frozenset({"file", "s3", "gs", "gcs", "abfs", "az", "memory"})


class SourceTooLarge(InvalidInput):
    """Raised if a source has more bytes than the limit. The bytes that were read are discarded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """One file in a listing of a source."""

    #: Absolute URI, from which the id of the document is made.
    uri: str
    #: Size in bytes, as the listing reports it.
    size: int
    #: A value that changes when the content changes, if the storage reports the change: the size together
    #: with the etag or the modification time. "" if the storage has neither an etag nor a modification time.
    stamp: str


def list_sources(location: str, *, on_left_out: OnLeftOut) -> Iterator[SourceFile]:
    """List everything at or below ``location`` that is not a folder, sorted by name.

    Entries whose names begin with a dot are not listed. Files that cannot be read are listed too, so that
    every file gets an outcome.

    Args:
        location: a path, or a URI with one of ``SCHEMES``.
        on_left_out: called for each folder that is left out (see ``files_below``), and for each key of a
            bucket that the database cannot hold.

    Raises:
        InvalidInput: the scheme is not one of ``SCHEMES``, or the location is neither a file nor a folder.
        NotFound: the location does not exist.
    """
    uri = absolute(location)
    if uri.startswith("file:"):
        yield from _local(local_path(uri), location, on_left_out)
        return
    filesystem, root = storage_of(uri)
    if not filesystem.exists(root):
        raise NotFound(f"{location}: no such file or folder")
    for name, info in sorted(filesystem.find(root, detail=True).items()):
        if "/." in name.removeprefix(root):
            continue
        if not is_text(name):
            on_left_out(
                repr(name),
                "the key has a character that the database cannot hold "
                "(NUL, or half of a surrogate pair); rename it",
            )
            continue
        size = info.get("size") or 0
        version = info.get("ETag") or info.get("etag") or info.get("LastModified") or info.get("mtime")
        yield SourceFile(
            uri=filesystem.unstrip_protocol(name), size=size, stamp=f"{size}:{version}" if version else ""
        )


def read_source(uri: str, *, max_bytes: int) -> bytes:
    """Return the bytes of a file.

    Raises:
        SourceTooLarge: the file has more than ``max_bytes`` bytes. At most one more byte is read.
        OSError: the file cannot be read, or it is not a regular file.
    """
    if uri.startswith("file:"):
        data = read_file(local_path(uri), max_bytes=max_bytes)
    else:
        filesystem, path = storage_of(uri)
        with filesystem.open(path, "rb") as file:
            data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise SourceTooLarge(f"larger than {max_bytes:,} bytes; raise CLUSTER_MAX_DOCUMENT_BYTES to take it")
    return data


def file_name(uri: str) -> str:
    """Return the last part of the path in a form that people can read.

    The percent escapes of a file URI are decoded. U+FFFD replaces control characters and bytes that are not
    UTF-8.
    """
    last = uri.rpartition("/")[2]
    return shown_name(unquote(last) if uri.startswith("file:") else last)


def entry_uri(uri: str, path: str) -> str:
    """Return the URI of an entry of a container: ``file:///mails.zip!/2026/a.eml``."""
    return f"{uri}!/{quote(path, safe='/!') if uri.startswith('file:') else path}"


def absolute(location: str) -> str:
    """Return the location as a URI that does not depend on the working directory.

    Raises:
        InvalidInput: the scheme is not one of ``SCHEMES``.
    """
    scheme = urlsplit(location).scheme
    if scheme and "://" in location:
        if scheme not in SCHEMES:
            raise InvalidInput(
                f"{location}: cannot read {scheme}://; use a path or one of {', '.join(sorted(SCHEMES))}"
            )
        return location.rstrip("/")
    # abspath removes "..", so that one file has one id
    return Path(os.path.abspath(Path(location).expanduser())).as_uri()


def local_path(uri: str) -> str:
    """Return the path of a file URI. The bytes of the path stay unchanged, because names on a disk need not
    be UTF-8.
    """
    return os.fsdecode(unquote_to_bytes(urlsplit(uri).path))


def storage_of(uri: str) -> tuple[Any, str]:
    """Return the storage of a URI, and the path inside the storage.

    ``::``, ``*``, ``?``, ``#`` and ``%`` are plain characters of the path here, not fsspec's syntax.
    """
    scheme, _, path = uri.partition("://")
    filesystem, _ = fsspec.core.url_to_fs(f"{scheme}://{path.partition('/')[0]}")
    return filesystem, filesystem._strip_protocol(uri)


def _local(path: str, location: str, on_left_out: OnLeftOut) -> Iterator[SourceFile]:
    try:
        found = os.stat(path)
        if not stat.S_ISDIR(found.st_mode):
            require_regular(found)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise NotFound(f"{location}: no such file or folder") from exc
    except OSError as exc:
        raise InvalidInput(f"{location}: {exc.strerror}") from exc
    for file in files_below(path, on_left_out) if stat.S_ISDIR(found.st_mode) else [path]:
        yield _local_source(file)


def _local_source(path: str) -> SourceFile:
    uri = Path(path).as_uri()
    try:
        found = os.stat(path)
    except OSError:  # list the file anyway, because the later attempt to read the file reports the reason
        return SourceFile(uri=uri, size=0, stamp="")
    return SourceFile(uri=uri, size=found.st_size, stamp=f"{found.st_size}:{found.st_mtime_ns}")
