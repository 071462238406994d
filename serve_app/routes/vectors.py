"""POST /v1/vector_stores/{id}/vectors and .../vectors/delete: insert or delete up to 1,000 given vectors.

Given vectors are vectors that clients compute themselves. OpenAI's API has no such routes. To insert a file
of millions of rows, submit a job of the kind ``bulk_insert_vectors``.
"""

import asyncio
from typing import Annotated, Any, Literal, Self
from uuid import uuid4

from psycopg import Connection
from pydantic import Field
from starlette.responses import Response

from cluster.documents.chunks.chunk_changes import delete_chunks
from cluster.documents.given_vectors.faults import FaultKind, RowFault
from cluster.documents.given_vectors.given_rows import RowChecker
from cluster.documents.given_vectors.insert import AheadOfRows, AskedBy, insert, require_given, write_ahead
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores.stores import get_store, require_live, touch_store
from cluster.errors import InvalidInput
from cluster.organisations.caller import current_key
from cluster.records import MAX_ATTRIBUTES, MAX_CHUNK_ID_CHARACTERS, MAX_CHUNK_TEXT_BYTES
from cluster.vector_index import Written
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import IGNORED_HEADER, header_safe_name, json_router
from serve_app.edge.request_model import RequestModel, Text
from serve_app.edge.response_model import ResponseModel
from serve_app.edge.service_access import ServiceDep
from serve_app.service import Service

MAX_ROWS = 1_000
#: The schema of a row, for the OpenAPI document only. The route checks rows one by one, so that it can insert
#: the other rows if one row is wrong.
ROW = {
    "type": "object",
    "title": "GivenVector",
    "required": ["id", "vector"],
    "properties": {
        "id": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_CHUNK_ID_CHARACTERS,
            "description": "Id of the row; a row with the id of a stored row replaces it",
        },
        "vector": {
            "type": "array",
            "items": {"type": "number"},
            "description": "As many numbers as the store has `dimensions`; stored with unit length",
        },
        "text": {
            "type": ["string", "null"],
            "description": "Text that searches by words and results show, at most "
            f"{MAX_CHUNK_TEXT_BYTES:,} bytes",
        },
        "attributes": {
            "type": ["object", "null"],
            "maxProperties": MAX_ATTRIBUTES,
            "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
            "description": f"Up to {MAX_ATTRIBUTES} named values that filters can test",
        },
    },
}

router = json_router(404, 409, 429)


class InsertRequest(RequestModel):
    """Rows to insert into a vector store that has no model."""

    vectors: Annotated[list[Any], Field(min_length=1, max_length=MAX_ROWS, json_schema_extra={"items": ROW})]
    """Up to 1,000 rows with `id`, `vector`, `text` and `attributes`."""


class FailedRow(ResponseModel):
    """A row that was not inserted."""

    row: int
    """Number of the row in the request, from 1."""
    id: str | None
    """Id of the row; null if the row has no id."""
    kind: FaultKind
    """What is wrong, for programs."""
    message: str
    """What is wrong, for people: the end of a sentence that begins with the row, such as "has no vector"."""

    @classmethod
    def of(cls, fault: RowFault) -> Self:
        """Convert the fault of a row into the object that answers contain."""
        return cls(row=fault.row, id=fault.id, kind=fault.kind, message=fault.message)


class InsertedVectors(ResponseModel):
    """The result of an insertion. `written`, `unchanged` and `failed` add up to the number of rows."""

    object: Literal["vector_store.vectors"] = "vector_store.vectors"
    """Always `vector_store.vectors`."""
    vector_store_id: str
    """Id of the vector store."""
    written: int
    """Number of rows that are new, or that replaced a different row with the same id."""
    unchanged: int
    """Number of rows that were stored already, with the same values."""
    failed: int
    """Number of rows that were not inserted."""
    failures: list[FailedRow]
    """The rows that were not inserted."""

    @classmethod
    def of(cls, store: str, written: Written, faults: list[RowFault]) -> Self:
        """Convert the counts and the faults into the object that answers contain."""
        return cls(
            vector_store_id=store,
            written=written.written,
            unchanged=written.unchanged,
            failed=len(faults),
            failures=[FailedRow.of(fault) for fault in faults],
        )


@router.post(
    "/v1/vector_stores/{vector_store_id}/vectors",
    summary="Insert vectors",
    response_model=InsertedVectors,
    responses=documented_errors(404, 409, 429),
)
async def insert_vectors(
    vector_store_id: str, body: InsertRequest, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """Inserts the rows that can be stored, before it answers. The answer says why other rows failed."""
    store = await service.read(
        lambda connection: require_given(require_live(get_store(connection, organisation, vector_store_id)))
    )
    checker = RowChecker(store.fingerprint.dim)
    rows, faults = await asyncio.to_thread(checker.check, enumerate(body.vectors, start=1))
    ignored = _ignored(service, checker)

    def ahead_of_rows(index: ChunkIndex) -> tuple[ChunkIndex, AheadOfRows]:
        return index, write_ahead(index, store, rows)

    index, ahead = await service.in_database(lambda _, indexes: ahead_of_rows(indexes.of(store)))
    failed = sorted([*faults, *ahead.refused], key=lambda fault: fault.row)

    asked = AskedBy(work=uuid4().hex, key=current_key())

    def write(connection: Connection[Any]) -> InsertedVectors:
        touch_store(connection, store)
        return InsertedVectors.of(store.id, insert(connection, index, store, ahead, asked).written, failed)

    answer = await once(write)
    await service.in_database(lambda _, indexes: indexes.settle(store))
    if ignored:
        answer.headers[IGNORED_HEADER] = ", ".join(ignored)
    return answer


class DeleteVectorsRequest(RequestModel):
    """Rows to delete from a vector store that has no model."""

    ids: Annotated[list[Text], Field(min_length=1, max_length=MAX_ROWS)]
    """Up to 1,000 ids of rows."""


class DeletedVectors(ResponseModel):
    """Shows how many rows were deleted."""

    object: Literal["vector_store.vectors.deleted"] = "vector_store.vectors.deleted"
    """Always `vector_store.vectors.deleted`."""
    vector_store_id: str
    """Id of the vector store."""
    deleted: int
    """Number of rows that were deleted; ids without a row are not counted."""


@router.post(
    "/v1/vector_stores/{vector_store_id}/vectors/delete",
    summary="Delete vectors",
    response_model=DeletedVectors,
    responses=documented_errors(404, 409),
)
async def delete_vectors(
    vector_store_id: str,
    body: DeleteVectorsRequest,
    service: ServiceDep,
    organisation: Organisation,
    once: Once,
) -> Response:
    """Deletes the rows with these ids at once. An id without a row is not an error."""

    store = await service.read(
        lambda connection: require_given(get_store(connection, organisation, vector_store_id))
    )

    def delete(connection: Connection[Any]) -> DeletedVectors:
        deleted = delete_chunks(connection, organisation, store.id, body.ids, collection=store.collection)
        return DeletedVectors(vector_store_id=store.id, deleted=deleted)

    answer = await once(delete)
    await service.in_database(lambda _, indexes: indexes.settle(store))
    return answer


def _ignored(service: Service, checker: RowChecker) -> list[str]:
    """Return the names of the unknown fields of the rows, for the header that lists ignored fields.

    Raises:
        InvalidInput: a row has an unknown field, and the settings refuse unknown fields.
    """
    names = [f"vectors[].{header_safe_name(name)}" for name in sorted(checker.ignored)]
    if names and service.settings.unknown_fields == "error":
        raise InvalidInput(f"unknown field {names[0]} (CLUSTER_UNKNOWN_FIELDS is error)", param="vectors")
    return names
