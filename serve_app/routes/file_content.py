"""GET /v1/vector_stores/{id}/files/{file_id}/content as in OpenAI's API: return the chunks of a file."""

from typing import Annotated, Any, Literal

from fastapi import Query
from psycopg import Connection

from cluster.documents.chunks.chunk_store import document_chunks
from cluster.documents.vector_stores import store_files
from cluster.documents.vector_stores.store_files import StoreFile
from cluster.documents.vector_stores.stores import get_store
from cluster.errors import InvalidInput
from cluster.page_structure import ChunkPlace
from cluster.vector_index.attributes import page_text, system_attributes
from serve_app.edge.authentication import Organisation
from serve_app.edge.json_route import json_router
from serve_app.edge.place_fields import PlaceFields, place_values
from serve_app.edge.response_model import ResponseModel
from serve_app.edge.service_access import ServiceDep

#: Maximum number of chunks in one answer. It is high because OpenAI's clients never request a second page.
CONTENT_CHUNKS = 5_000

router = json_router(404)


class ChunkText(PlaceFields):
    """The text of one chunk, and its position in the document."""

    type: Literal["text"] = "text"
    """Always `text`."""
    text: str
    """The text of the chunk, without the context that search results show before it."""
    page: int | None
    """Number of the page that contains the chunk, counted from 1; null if the document has no pages."""
    start: int | None
    """Position of the chunk's first character on the page, counted from 0."""
    end: int | None
    """Position after the chunk's last character on the page."""


class FileContentPage(ResponseModel):
    """One page of the chunks of a file, in reading order."""

    object: Literal["vector_store.file_content.page"] = "vector_store.file_content.page"
    """Always `vector_store.file_content.page`."""
    data: list[ChunkText]
    """The chunks of this page."""
    has_more: bool
    """True if more chunks follow."""
    next_page: str | None
    """Value of the query parameter `page` for the next page; null on the last page."""
    file_id: str
    """Id of the file."""
    filename: str
    """Name of the file."""
    attributes: dict[str, str | bool | int | float]
    """Named values that the filters of a search can test."""


@router.get(
    "/v1/vector_stores/{vector_store_id}/files/{file_id}/content",
    summary="Get the text of a file",
)
async def get_content(
    vector_store_id: str,
    file_id: str,
    service: ServiceDep,
    organisation: Organisation,
    page: Annotated[str | None, Query(description="`next_page` of the previous answer")] = None,
) -> FileContentPage:
    """Returns the chunks of the file in reading order, each with its page and its position on the page."""
    first = _first_chunk(page)

    def read(connection: Connection[Any]) -> tuple[StoreFile, list[dict[str, Any]]]:
        store = get_store(connection, organisation, vector_store_id)
        attached = store_files.get_store_file(connection, organisation, vector_store_id, file_id)
        rows = document_chunks(
            connection, organisation, store.id, attached.document, collection=store.collection
        )
        return attached, sorted(
            (
                {**system_attributes(row.attributes), "text": page_text(row.text, row.attributes)}
                for row in rows
            ),
            key=lambda chunk: int(chunk["ordinal"]),
        )

    attached, chunks = await service.in_transaction(read)
    last = first + CONTENT_CHUNKS
    return FileContentPage(
        data=[
            ChunkText(
                text=chunk["text"],
                page=chunk["page"],
                start=chunk["start"],
                end=chunk["end"],
                **place_values(ChunkPlace.of(chunk)),
            )
            for chunk in chunks[first:last]
        ],
        has_more=len(chunks) > last,
        next_page=str(last) if len(chunks) > last else None,
        file_id=attached.file,
        filename=attached.filename,
        attributes=attached.attributes,
    )


def _first_chunk(page: str | None) -> int:
    if page is None:
        return 0
    if not (page.isascii() and page.isdecimal() and len(page) <= 9):
        raise InvalidInput(f"page is {page!r}; send the next_page of the previous answer", param="page")
    return int(page)
