"""GET /v1/vector_stores/{id}/files/{file_id}/pages/{page_number} returns the text of one page of a document.

The page "Stores" of the console shows the text beside a search result. OpenAI's API has no such route.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from psycopg import Connection

from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.chunks.chunk_store import document_chunks
from cluster.documents.files import File, get_file
from cluster.documents.vector_stores.store_files import get_store_file
from cluster.documents.vector_stores.stores import VectorStore, get_store
from cluster.errors import NotFound
from cluster.formats import PDF
from cluster.page_pictures.page_pictures import MAX_DOCUMENT_BYTES
from cluster.vector_index.attributes import page_text, system_attributes
from cluster.vector_index.collections import look_up
from serve_app.edge.authentication import Organisation
from serve_app.edge.json_route import json_router
from serve_app.edge.response_model import ResponseModel
from serve_app.edge.service_access import ServiceDep

#: Maximum number of characters in one answer. A page of a text file can have millions of characters.
MAX_CHARACTERS = 200_000
#: Maximum value of a page's number and of a character's position.
MAX_NUMBER = 2**31 - 1
#: The number of a page in a path.
PageNumber = Annotated[int, Path(ge=1, le=MAX_NUMBER)]
#: Maximum number of ranges of pages that an error names.
MAX_RANGES = 10

#: The position of a chunk's first character on the page, and the chunk.
_Placed = tuple[int, ChunkRecord]

router = json_router(404)


class PagePassage(ResponseModel):
    """A part of a page."""

    chunk_id: str
    """Id of the chunk to which the part belongs."""
    start: int
    """Position of the part's first character on the page, counted from 0."""
    end: int
    """Position after the part's last character on the page."""
    text: str
    """The text. Text that two chunks share belongs to the first chunk only."""


class PageText(ResponseModel):
    """The text of one page of a document."""

    object: Literal["vector_store.file.page"] = "vector_store.file.page"
    """Always `vector_store.file.page`."""
    file_id: str
    """Id of the file, or of the document if a bulk ingest added the document."""
    filename: str
    """Name of the file."""
    page: int
    """Number of the page, from 1."""
    data: list[PagePassage]
    """The parts of the page that are indexed, in the order of the page. Between two parts there may be
    characters that no chunk has, such as line breaks."""
    next_start: int | None
    """Value of the query parameter `start` for the rest of the page; null if the page ends here."""
    previous_page: int | None
    """Number of the nearest page with text before this page; null if there is none."""
    next_page: int | None
    """Number of the nearest page with text after this page; null if there is none."""
    has_picture: bool
    """True if `.../pages/{page_number}/picture` draws the pages of this file."""


@router.get(
    "/v1/vector_stores/{vector_store_id}/files/{file_id}/pages/{page_number}",
    summary="Get the text of a page",
)
async def get_page(
    vector_store_id: str,
    file_id: str,
    page_number: PageNumber,
    service: ServiceDep,
    organisation: Organisation,
    start: Annotated[
        int, Query(ge=0, le=MAX_NUMBER, description="Position of the first character to return")
    ] = 0,
) -> PageText:
    """Returns the indexed text of a page, as far as it fits into one answer. `file_id` is the id of an
    attached file, or of a document that a bulk ingest added.
    """

    def read(connection: Connection[Any]) -> PageText:
        filename, chunks, pictures = _chunks(connection, organisation, vector_store_id, file_id)
        return _page(file_id, filename, chunks, page_number, start, has_picture=pictures)

    return await service.read(read)


def has_picture(file: File) -> bool:
    """True if pages of the file can be drawn."""
    return file.media_type == PDF.media_type and file.bytes <= MAX_DOCUMENT_BYTES


def text_between(
    connection: Connection[Any], store: VectorStore, document: str, page: int, start: int, end: int
) -> str:
    """Return the indexed text of a page between two positions, without the rest of a long passage."""
    if end <= start:
        return ""
    rows = document_chunks(connection, store.organisation, store.id, document, collection=store.collection)
    passages, _ = _passages(_on_page(rows, page)[0], start)
    return "\n".join(part.text[: end - part.start] for part in passages if part.start < end)


def _page(
    file: str, filename: str, chunks: Sequence[ChunkRecord], number: int, start: int, *, has_picture: bool
) -> PageText:
    """Return the text of a page from a position on.

    Raises:
        NotFound: no chunk is on this page.
    """
    on_page, pages = _on_page(chunks, number)
    if number not in pages:
        raise NotFound(
            f"page {number} of {file!r} has no indexed text in this vector store; "
            f"pages with text: {_ranges(pages)}"
        )
    passages, next_start = _passages(on_page, start)
    return PageText(
        has_picture=has_picture,
        file_id=file,
        filename=filename,
        page=number,
        data=passages,
        next_start=next_start,
        previous_page=max((page for page in pages if page < number), default=None),
        next_page=min((page for page in pages if page > number), default=None),
    )


def _on_page(chunks: Iterable[ChunkRecord], number: int) -> tuple[list[_Placed], set[int]]:
    """Return the chunks of a page with their positions, and the numbers of all pages with chunks."""
    on_page: list[_Placed] = []
    pages: set[int] = set()
    for chunk in chunks:
        own = system_attributes(chunk.attributes)
        page, first = _whole(own.get("page")), _whole(own.get("start"))
        if page is not None:
            pages.add(page)
        if page == number and first is not None:  # chunks that callers inserted can have no position
            on_page.append((first, chunk))
    return on_page, pages


def _chunks(
    connection: Connection[Any], organisation: str, store_id: str, file_id: str
) -> tuple[str, list[ChunkRecord], bool]:
    """Return the name and the chunks of an attached file, or of a document that a bulk ingest added, and
    whether its pages can be drawn.

    Raises:
        NotFound: the store has no such file or document.
    """
    store = get_store(connection, organisation, store_id)
    try:
        attached = get_store_file(connection, organisation, store.id, file_id)
    except NotFound:
        if look_up(connection, store.collection) is None:  # no chunks, so no document of a bulk ingest either
            raise
        rows = document_chunks(connection, organisation, store.id, file_id, collection=store.collection)
        if not rows:
            raise
        return system_attributes(rows[0].attributes).get("filename", ""), rows, False
    rows = document_chunks(connection, organisation, store.id, attached.document, collection=store.collection)
    return attached.filename, rows, has_picture(get_file(connection, organisation, attached.file))


def _passages(placed: Iterable[_Placed], position: int) -> tuple[list[PagePassage], int | None]:
    """Return the parts of the page from a position on, and the position of the rest of the page; None if the
    page ends with these parts.
    """
    passages: list[PagePassage] = []
    room = MAX_CHARACTERS
    for start, chunk in sorted(placed, key=lambda one: (one[0], one[1].id)):
        begin = max(start, position)
        text = page_text(chunk.text, chunk.attributes)[begin - start :]
        if text and not room:
            return passages, begin
        if text:
            shown = text[:room]
            position, room = begin + len(shown), room - len(shown)
            passages.append(PagePassage(chunk_id=chunk.id, start=begin, end=position, text=shown))
            if len(shown) < len(text):
                return passages, position
    return passages, None


def _whole(value: Any) -> int | None:
    """Return the value of an attribute if it is a whole number; otherwise None, because attributes may come
    from a file that another program wrote.
    """
    return value if type(value) is int else None


def _ranges(pages: Collection[int]) -> str:
    """Return the page numbers as text, such as ``1-3, 7``; "none" if there are no pages. After ``MAX_RANGES``
    ranges, the text ends with "...".
    """
    ranges: list[tuple[int, int]] = []
    for page in sorted(pages):
        if ranges and page == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], page)
        else:
            ranges.append((page, page))
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in ranges[:MAX_RANGES]]
    return ", ".join([*shown, *(["..."] if len(ranges) > MAX_RANGES else [])]) or "none"
