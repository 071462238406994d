"""Where documents come from: a file, a folder or a bucket, listed without reading it, and read with a limit.

for source in list_sources("s3://bucket/manuals"):
    data = read_source(source.uri, max_bytes=200 << 20)
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import fsspec

from cluster.errors import InvalidInput, NotFound

#: What an operator may name; http is left out on purpose: fetching pages is the crawler's work, with its own guards.
SCHEMES = frozenset({"file", "s3", "gs", "gcs", "abfs", "az", "memory"})


class SourceTooLarge(InvalidInput):
    """The source has more bytes than the limit; none of them were kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One file, as listed."""

    #: Absolute; the document's id is made from it.
    uri: str
    #: Bytes, as listed.
    size: int
    #: Changes whenever the content does, as far as the storage can tell (etag, or size and modification time); "" for unknown.
    stamp: str


def list_sources(location: str) -> Iterator[Source]:
    """Every regular file at or below ``location``, in order of its name; hidden files and folders are left out.

    Raises:
        InvalidInput: a scheme that is not in ``SCHEMES``.
        NotFound: nothing is there.
    """
    uri = absolute(location)
    if uri.startswith("file:"):
        yield from _local(_path(uri), location)
        return
    filesystem, root = fsspec.core.url_to_fs(uri)
    if not filesystem.exists(root):
        raise NotFound(f"{location}: no such file or folder")
    for name, info in sorted(filesystem.find(root, detail=True).items()):
        if "/." not in name.removeprefix(root):
            size, version = info.get("size") or 0, info.get("ETag") or info.get("etag") or info.get("LastModified") or info.get("mtime")
            yield Source(uri=filesystem.unstrip_protocol(name), size=size, stamp=f"{size}:{version}" if version else "")


def read_source(uri: str, *, max_bytes: int) -> bytes:
    """The file's bytes.

    Raises:
        SourceTooLarge: it has more than ``max_bytes``; reading stops there.
        OSError: it cannot be read.
    """
    # fsspec takes a file's URI for a path as it stands, %20 and all.
    with _path(uri).open("rb") if uri.startswith("file:") else fsspec.open(uri, "rb") as file:
        data: bytes = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise SourceTooLarge(f"larger than {max_bytes:,} bytes; raise CLUSTER_MAX_DOCUMENT_BYTES to take it")
    return data


def file_name(uri: str) -> str:
    """The last part of the path, as a person would write it."""
    return unquote(urlsplit(uri).path.rsplit("/", 1)[-1])


def absolute(location: str) -> str:
    """The location as a URI that means the same on every working directory.

    Raises:
        InvalidInput: a scheme that is not in ``SCHEMES``.
    """
    scheme = urlsplit(location).scheme
    if scheme and "://" in location:
        if scheme not in SCHEMES:
            raise InvalidInput(f"{location}: cannot read {scheme}://; use a path or one of {', '.join(sorted(SCHEMES))}")
        return location.rstrip("/")
    return Path(os.path.abspath(Path(location).expanduser())).as_uri()  # without "..": one file has one id


def _path(uri: str) -> Path:
    return Path(url2pathname(urlsplit(uri).path))


def _local(path: Path, location: str) -> Iterator[Source]:
    if path.is_file():
        yield _local_source(path)
    elif path.is_dir():
        for folder, subfolders, files in os.walk(path):  # does not follow linked folders, so it ends
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            for file in (Path(folder, name) for name in sorted(files) if not name.startswith(".")):
                # A pipe would never end; a dangling link is listed, so that it is recorded as unreadable.
                if file.is_file() or file.is_symlink():
                    yield _local_source(file)
    else:
        raise NotFound(f"{location}: no such file or folder")


def _local_source(path: Path) -> Source:
    try:
        stat = path.stat()
    except OSError:
        return Source(uri=path.as_uri(), size=0, stamp="")
    return Source(uri=path.as_uri(), size=stat.st_size, stamp=f"{stat.st_size}:{stat.st_mtime_ns}")
