"""Create files that name a URL. The job that indexes such a file fetches the URL in every attempt.

A request can name a URL in place of the id of a file. The bytes of the file for the URL are an internet
shortcut, the format in which desktops store links. So the file exists before the URL is fetched.

    shortcut_of("https://example.com/guide.pdf")      # b"[InternetShortcut]\\r\\nURL=https://..."
    file = create_linked_file(connection, blobs, "acme", url, default_limits=limits)
"""

from typing import Any
from urllib.parse import unquote, urlsplit

from psycopg import Connection

from cluster.blobs import Blob, BlobStore
from cluster.documents.file_names import shown_name
from cluster.documents.files import File, create_file, require_blob
from cluster.errors import Unavailable
from cluster.formats import DOCUMENT_PURPOSES
from cluster.organisations.organisations import StorageLimits

#: Media type of the files for URLs. An uploaded file never gets this type, so an uploaded shortcut is indexed
#: as a text.
INTERNET_SHORTCUT = "application/internet-shortcut"
START = "[InternetShortcut]\r\nURL="
#: Name of the attribute of a file whose value is the URL.
URL_ATTRIBUTE = "url"


def shortcut_of(url: str) -> bytes:
    """Return the bytes of the file for a URL."""
    return f"{START}{url}\r\n".encode()


def url_of(data: bytes) -> str:
    """Return the URL of a file that ``shortcut_of`` made."""
    return data.decode().removeprefix(START).strip()


def name_of(url: str) -> str:
    """Return the name of the file for a URL: the last segment of the path, or else the host."""
    parts = urlsplit(url)
    segments = [unquote(segment) for segment in parts.path.split("/") if segment]
    return shown_name(segments[-1] if segments else parts.hostname or "link")


def stored_shortcut(blobs: BlobStore, organisation: str, url: str) -> Blob:
    """Store the bytes of the file for a URL, and return the stored blob."""
    with blobs.writer(organisation) as writer:
        writer.write(shortcut_of(url))
        return writer.commit()


def create_linked_file(
    connection: Connection[Any],
    blobs: BlobStore,
    organisation: str,
    url: str,
    *,
    default_limits: StorageLimits,
) -> File:
    """Create and return the file for a URL, in the caller's transaction. If a file for the same URL was
    created within ``files.SAME_WITHIN_S``, return that file.

    Args:
        url: a URL that the guarded transport permits (``AsyncOutboundClient.check``).
        default_limits: see ``files.create_file``.

    Raises:
        Throttled: the organisation would exceed a storage limit.
        Unavailable: the stored bytes were deleted during this call, together with another file for the URL.
    """
    blob = stored_shortcut(blobs, organisation, url)
    if not require_blob(connection, blobs, organisation, blob.sha256):
        raise Unavailable(
            "the last file for this URL was deleted during the request; send the request again",
            retry_after_s=1,
        )
    return create_file(
        connection,
        organisation,
        name_of(url),
        DOCUMENT_PURPOSES[0],
        blob,
        INTERNET_SHORTCUT,
        default_limits=default_limits,
    )
