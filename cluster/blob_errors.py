"""Translates errors of the blob store's storage into this project's errors.

with translated_storage_errors():
    filesystem.open(path)
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from cluster.errors import Misconfigured, Permanent, Resource, Shortage, Unavailable

FULL_RETRY_AFTER_S, AWAY_RETRY_AFTER_S = 30.0, 5.0
#: Error numbers of a file system that is full or read-only, or that has reached a quota or a limit on file
#: size.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
#: Words in the error messages of a full bucket (MinIO, Ceph, Google, Azure), and the HTTP status 507.
FULL_WORDS = re.compile(r"quota ?exceeded|storage ?full|insufficient ?storage|\b507\b", re.IGNORECASE)
#: Packages whose errors are not OSErrors: fsspec, its packages for S3, Google and Azure, and their HTTP
#: clients.
VENDORS = frozenset({"botocore", "aiobotocore", "aiohttp", "gcsfs", "google", "azure", "fsspec"})


@contextmanager
def translated_storage_errors() -> Iterator[None]:
    """Raise errors of the storage as this project's errors.

    Raises:
        Shortage: the storage is full or read-only.
        Unavailable: the storage does not answer.
        Misconfigured: the storage denies access.
    """
    try:
        yield
    except PermissionError as exc:
        if FULL_WORDS.search(str(exc)):
            raise _full(exc) from exc
        raise Misconfigured(f"the blob store denies access: {exc}; see CLUSTER_BLOB_URL") from exc
    except OSError as exc:
        if exc.errno in FULL or FULL_WORDS.search(str(exc)):
            raise _full(exc) from exc
        raise _away(exc) from exc
    except Exception as exc:  # vendors' errors have no common base class; other errors are raised again
        if type(exc).__module__.partition(".")[0] not in VENDORS:
            raise
        raise (_full(exc) if FULL_WORDS.search(str(exc)) else _away(exc)) from exc


@contextmanager
def missing_blob_is_permanent(organisation: str, sha256: str) -> Iterator[None]:
    """Raise ``Permanent`` instead of ``FileNotFoundError`` if the file of the blob does not exist."""
    try:
        yield
    except FileNotFoundError as exc:
        raise Permanent(
            f"blob {sha256} of organisation {organisation} is gone: restore it from a copy", row_ids=[sha256]
        ) from exc


def _full(exc: Exception) -> Shortage:
    return Shortage(
        f"{Resource.BLOB_STORE.sentence} ({exc})",
        resource=Resource.BLOB_STORE,
        retry_after_s=FULL_RETRY_AFTER_S,
    )


def _away(exc: Exception) -> Unavailable:
    return Unavailable(
        f"the blob store does not answer: {type(exc).__name__}: {exc}", retry_after_s=AWAY_RETRY_AFTER_S
    )
