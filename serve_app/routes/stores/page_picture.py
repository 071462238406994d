"""GET /v1/vector_stores/{id}/files/{file_id}/pages/{page_number}/picture returns a page as a picture.

The page "Stores" of the console shows it beside a search result. OpenAI's API has no such route.
"""

from typing import Annotated, Any

from fastapi import Query
from psycopg import Connection
from starlette.responses import Response

from cluster.documents.files import File, get_file
from cluster.documents.vector_stores.store_files import get_store_file
from cluster.documents.vector_stores.stores import get_store
from cluster.errors import NotFound
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.json_route import json_router
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.stores.page_text import MAX_NUMBER, PageNumber, has_picture, text_between

router = json_router(404)


@router.get(
    "/v1/vector_stores/{vector_store_id}/files/{file_id}/pages/{page_number}/picture",
    summary="Get a picture of a page",
    response_class=Response,
    responses={
        200: {
            "description": "The page as a picture (PNG)",
            "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
        },
        **documented_errors(409),
    },
)
async def get_picture(
    vector_store_id: str,
    file_id: str,
    page_number: PageNumber,
    service: ServiceDep,
    organisation: Organisation,
    start: Annotated[
        int, Query(ge=0, le=MAX_NUMBER, description="Position of the first character to highlight")
    ] = 0,
    end: Annotated[
        int, Query(ge=0, le=MAX_NUMBER, description="Position after the last character to highlight")
    ] = 0,
) -> Response:
    """Draws a page of an attached PDF, and highlights the indexed text from `start` to `end`. Without `end`,
    nothing is highlighted. `has_picture` of the page's text says whether pages of the file can be drawn.
    """

    def read(connection: Connection[Any]) -> tuple[File, str]:
        store = get_store(connection, organisation, vector_store_id)
        attached = get_store_file(connection, organisation, store.id, file_id)
        file = get_file(connection, organisation, attached.file)
        if not has_picture(file):
            raise NotFound(f"file {file_id!r} has no pictures of pages; only PDF documents have them")
        return file, text_between(connection, store, attached.document, page_number, start, end)

    file, passage = await service.read(read)

    async def document() -> bytes:
        return await service.on_blobs(service.blobs.read, organisation, file.sha256)

    picture = await service.pictures.draw(file.sha256, document, page=page_number, passage=passage)
    headers = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
    return Response(picture, media_type="image/png", headers=headers)
