"""Open a file at a path or in a bucket, to read the file or to write a whole file.

with open_to_write("s3://backups/handbook.parquet") as file:
    file.write(...)
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.errors import InvalidInput, NotFound
from data_jobs.sources import absolute, local_path, storage_of
from data_jobs.sources.local_files import require_regular


@contextmanager
def open_to_write(location: str) -> Iterator[Any]:
    """Yield a file to write to. When the block ends without an error, the file appears at the location and
    replaces an existing file.

    Raises:
        InvalidInput: the location cannot be written to.
    """
    uri = absolute(location)
    if not uri.startswith("file:"):
        filesystem, path = storage_of(uri)
        try:
            with filesystem.transaction, filesystem.open(path, "wb") as file:
                yield file
        except OSError as exc:
            raise InvalidInput(f"{location} cannot be written: {exc}") from exc
        return
    place = Path(local_path(uri))
    unfinished = place.with_name(f".{place.name}.{os.getpid()}.unfinished")
    try:
        file = unfinished.open("wb")
    except OSError as exc:
        raise InvalidInput(f"{location} cannot be written: {exc.strerror}") from exc
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(place)
    except OSError as exc:
        raise InvalidInput(f"{location} cannot be written: {exc.strerror}") from exc
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def open_to_read(location: str) -> Iterator[Any]:
    """Yield a file to read from at any position.

    Raises:
        NotFound: there is no such file.
        InvalidInput: the file is not a regular file, or it cannot be opened.
    """
    uri = absolute(location)
    try:
        if uri.startswith("file:"):
            require_regular(os.stat(local_path(uri)))
            file = open(local_path(uri), "rb")  # noqa: SIM115  # closed below
        else:
            filesystem, path = storage_of(uri)
            file = filesystem.open(path, "rb")
    except FileNotFoundError as exc:
        raise NotFound(f"{location}: no such file") from exc
    except OSError as exc:
        raise InvalidInput(f"{location} cannot be read: {exc}") from exc
    with file:
        yield file
