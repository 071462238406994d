"""Stores the pages of websites in vector stores. Each page has one file, and crawls update this file.

If a page changes, a crawl keeps the file of the page and replaces the content of the file. So the document
keeps its id, and chunks whose text is unchanged are not embedded again.

    known = find_site_page(connection, crawl, page.id)             # None: the store does not have the page
    stored = store_page(connection, crawl, page=page.id, content=content, known=known, ...)
    release_blobs(connection, blobs, crawl.organisation, stored.released)            # after the commit
"""

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from cluster.blobs import Blob, BlobStore
from cluster.crawls.crawls import Crawl
from cluster.database.queries import queries
from cluster.documents.files import create_file, delete_file, require_blob, require_room
from cluster.documents.vector_stores.attaching import attach
from cluster.documents.vector_stores.store_files import FileStatus
from cluster.documents.vector_stores.stores import get_store
from cluster.errors import NotFound, Unavailable
from cluster.jobs.jobs import Job
from cluster.jobs.queue import HIGHEST_PRIORITY
from cluster.organisations.organisations import StorageLimits

#: Purpose of the files that crawls make.
PURPOSE = "assistants"


@dataclass(frozen=True, kw_only=True, slots=True)
class SitePage:
    """A page that a vector store holds."""

    id: str
    url: str
    #: Id of the file with the content.
    file: str
    #: SHA-256 of the last body that the server sent and that is recorded.
    sha256: str
    etag: str | None
    last_modified: str | None
    title: str | None
    #: Number of crawls in a row that did not find the page, until now.
    misses: int
    #: Id of the last crawl that found the page or recorded that it did not find the page.
    crawl: str
    #: SHA-256 of the content of the file.
    content_sha256: str
    #: Status of the file in the store; None if somebody has detached the file.
    status: FileStatus | None

    @property
    def searchable(self) -> bool:
        """True if searches find the page, or will find it as soon as its job has ended."""
        return self.status in {FileStatus.COMPLETED, FileStatus.IN_PROGRESS}


@dataclass(frozen=True, kw_only=True, slots=True)
class PageContent:
    """The content of a page, which becomes the content of a file."""

    filename: str
    media_type: str
    #: The stored bytes of the content.
    blob: Blob
    #: The attributes of the file in the store.
    attributes: dict[str, Any]
    #: SHA-256 of the body that the server sent.
    sha256: str
    etag: str | None
    last_modified: str | None
    title: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredPage:
    """The file of a page after ``store_page`` or after the deletion of the file."""

    file: str
    #: SHA-256 of blobs that may no longer be needed. The caller releases them after the commit.
    released: tuple[str, ...] = ()


OTHER_COLUMNS = {"content_sha256": "files.sha256", "status": "attached.status"}
COLUMNS = ", ".join(
    f"{OTHER_COLUMNS.get(one.name, f'site_pages.{one.name}')} AS {one.name}" for one in fields(SitePage)
)
SQL = {
    name: text.replace("{columns}", COLUMNS)
    for name, text in queries("cluster.crawls", "site_pages.sql").items()
}


def find_site_page(connection: Connection[Any], crawl: Crawl, page: str) -> SitePage | None:
    """Return the page as the crawl's vector store has it; None if the store does not have the page."""
    with connection.cursor(row_factory=class_row(SitePage)) as cursor:
        return cursor.execute(SQL["get"], {**_key(crawl), "id": page}).fetchone()


def known_urls(connection: Connection[Any], crawl: Crawl) -> list[str]:
    """Return the URLs of all pages that the crawl's vector store holds."""
    return [url for _, url in connection.execute(SQL["urls"], _key(crawl))]


def equal_page(connection: Connection[Any], crawl: Crawl, page: str, sha256: str) -> str | None:
    """Return the URL of another page in the store whose last body has this hash, and which the last crawl
    found; None if there is no such page.

    Args:
        page: id of the page that is compared with the others.
        sha256: SHA-256 of the body of this page.
    """
    row = connection.execute(SQL["same_content"], {**_key(crawl), "id": page, "sha256": sha256}).fetchone()
    return None if row is None else str(row[0])


def store_page(
    connection: Connection[Any],
    crawl: Crawl,
    *,
    page: str,
    url: str,
    content: PageContent,
    known: SitePage | None,
    blobs: BlobStore,
    job: Job,
    job_attempts: int,
    default_limits: StorageLimits,
) -> StoredPage:
    """Make or change the file of a page, and submit the job that indexes the file, in the caller's
    transaction.

    Args:
        page: id of the page.
        known: the result of ``find_site_page``.
        job: the crawl's job. The file's job has the same class, and a higher priority if there is a higher
            one, so that pages become searchable while the crawl continues.
        job_attempts: maximum number of attempts of the file's job.
        default_limits: limits from the settings, for an organisation without limits of its own.

    Raises:
        NotFound: the vector store or the page's file was deleted.
        Conflict: the vector store has expired.
        Unavailable: the blob was deleted before this transaction; write the blob again.
        Throttled: the organisation would exceed a storage limit.
    """
    organisation = crawl.organisation
    store = get_store(connection, organisation, crawl.vector_store or "")
    if not require_blob(connection, blobs, organisation, content.blob.sha256):
        raise Unavailable("the content of the page was deleted while the page was stored")
    file = _file_of(connection, crawl, content, known, default_limits)
    attach(
        connection,
        store,
        file,
        attributes=content.attributes,
        chunking_strategy=crawl.options.get("chunking_strategy"),
        priority_class=job.priority_class,
        priority=min(HIGHEST_PRIORITY, job.priority + 1),
        attempts=job_attempts,
    )
    save_site_page(connection, crawl, page=page, url=url, file=file, content=content)
    changed = known is not None and known.content_sha256 != content.blob.sha256
    return StoredPage(file=file, released=(known.content_sha256,) if known is not None and changed else ())


def save_site_page(
    connection: Connection[Any], crawl: Crawl, *, page: str, url: str, file: str, content: PageContent
) -> None:
    """Record the file of the page, and what the server said about the content of the page."""
    values = {
        **_key(crawl),
        "id": page,
        "url": url,
        "file": file,
        "sha256": content.sha256,
        "etag": content.etag,
        "last_modified": content.last_modified,
        "title": content.title,
        "crawl": crawl.id,
    }
    connection.execute(SQL["save"], values)


def record_found(connection: Connection[Any], crawl: Crawl, page: str) -> None:
    """Record that the crawl found the page, and that the page has not changed."""
    connection.execute(SQL["found"], {**_key(crawl), "id": page, "crawl": crawl.id})


def record_missed(
    connection: Connection[Any], crawl: Crawl, page: str, *, remove_after: int
) -> StoredPage | None:
    """Record, at most once for each crawl, that the crawl did not find the page. If ``remove_after`` crawls
    in a row did not find the page, delete its file, and return the deleted file; otherwise, return None.
    """
    row = connection.execute(SQL["missed"], {**_key(crawl), "id": page, "crawl": crawl.id}).fetchone()
    if row is None or row[0] < remove_after:
        return None
    return _delete(connection, crawl.organisation, row[1])


def delete_site_files(
    connection: Connection[Any], organisation: str, vector_store: str, *, limit: int
) -> list[str]:
    """Delete at most ``limit`` files that crawls made for a deleted vector store. Return the hashes of the
    files' blobs, which the caller releases after the commit. An empty list means that no file is left.
    """
    values = {"organisation": organisation, "vector_store": vector_store, "limit": limit}
    files = [file for (file,) in connection.execute(SQL["files"], values).fetchall()]
    return [sha256 for file in files for sha256 in _delete(connection, organisation, file).released]


def repeated_blocks_of(connection: Connection[Any], crawl: Crawl, host: str) -> set[str]:
    """Return the digests of the blocks that are left out of the host's pages in the crawl's vector store."""
    found = connection.execute(SQL["blocks"], {**_key(crawl), "host": host})
    return {digest for (digest,) in found}


def save_repeated_blocks(
    connection: Connection[Any], crawl: Crawl, host: str, digests: Collection[str]
) -> None:
    """Record that the blocks with these digests are left out of the host's pages from now on."""
    connection.execute(SQL["save_blocks"], {**_key(crawl), "host": host, "digests": sorted(digests)})


def _file_of(
    connection: Connection[Any],
    crawl: Crawl,
    content: PageContent,
    known: SitePage | None,
    limits: StorageLimits,
) -> str:
    """Make the file of a new page, or replace the content of the file of a known page. Return the id of the
    file.
    """
    organisation, blob = crawl.organisation, content.blob
    if known is None:
        return create_file(
            connection,
            organisation,
            content.filename,
            PURPOSE,
            blob,
            content.media_type,
            default_limits=limits,
            is_upload=False,
        ).id
    require_room(connection, organisation, default_limits=limits, files=0, bytes=blob.bytes)
    values = {
        "organisation": organisation,
        "file": known.file,
        "filename": content.filename,
        "bytes": blob.bytes,
        "sha256": blob.sha256,
        "media_type": content.media_type,
    }
    connection.execute(SQL["replace_content"], values)
    return known.file


def _delete(connection: Connection[Any], organisation: str, file: str) -> StoredPage:
    try:
        deleted = delete_file(connection, organisation, file)
    except NotFound:  # somebody has deleted the file, and the row of the page was deleted with the file
        return StoredPage(file=file)
    return StoredPage(file=file, released=tuple(one.sha256 for one in deleted))


def _key(crawl: Crawl) -> dict[str, Any]:
    return {"organisation": crawl.organisation, "vector_store": crawl.vector_store}
