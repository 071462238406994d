"""/v1/segments: create, list, get and delete segments; list and export their customers.

The segment ``all`` always exists, and has every customer with a profile.
"""

import tempfile
from collections.abc import Iterator
from typing import Annotated, Any, BinaryIO

from fastapi import Response
from psycopg import Connection
from pydantic import Field
from starlette.responses import StreamingResponse

from cluster.formats import PARQUET
from cluster.profiles.members import count_members, export_members, list_members
from cluster.profiles.segments import create_segment, delete_segment, get_segment, list_segments
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep
from serve_app.edge.request_model import RequestModel, Text
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.profiles.profile_objects import (
    CustomerProfileList,
    CustomerProfileObject,
    DeletedSegment,
    SegmentList,
    SegmentObject,
)

router = json_router(404)

MAX_NAME_CHARACTERS = 256
READ_BYTES = 1024 * 1024


class NewSegmentRequest(RequestModel):
    """A segment to create."""

    name: Annotated[Text, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]
    """Name of the segment, unique in the organisation."""
    filters: dict[str, Any]
    """A comparison (`type`, `key`, `value`) or a compound filter (`type`, `filters`), as in a search of a
    vector store. The keys are values of profiles that are numbers, texts or booleans."""

    @classmethod
    def may_ignore(cls, name: str) -> bool:
        """Return False, because an ignored condition would put more customers into the segment."""
        del name
        return False


@router.post(
    "/v1/segments",
    summary="Create a segment",
    response_model=SegmentObject,
    responses=documented_errors(404, 409, 429),
)
async def create(body: NewSegmentRequest, organisation: Organisation, once: Once) -> Response:
    """Creates a segment. An organisation may have 100 segments."""
    return await once(
        lambda connection: SegmentObject.of(create_segment(connection, organisation, body.name, body.filters))
    )


@router.get("/v1/segments", summary="List segments")
async def list_all(page: PageDep, service: ServiceDep, organisation: Organisation) -> SegmentList:
    """Lists the segments of the organisation, one page at a time, without the segment `all`."""
    found = await service.read(lambda connection: list_segments(connection, organisation, page))
    return SegmentList.of(found, SegmentObject.of, lambda segment: segment.id)


@router.get("/v1/segments/{segment_id}", summary="Get a segment")
async def retrieve(segment_id: str, service: ServiceDep, organisation: Organisation) -> SegmentObject:
    """Shows the segment, and the number of customers who are in it now."""

    def read(connection: Connection[Any]) -> SegmentObject:
        segment = get_segment(connection, organisation, segment_id)
        return SegmentObject.of(segment, count_members(connection, organisation, segment))

    return await service.read(read)


@router.delete("/v1/segments/{segment_id}", summary="Delete a segment", responses=documented_errors(404, 409))
async def delete(segment_id: str, service: ServiceDep, organisation: Organisation) -> DeletedSegment:
    """Deletes the segment. The profiles of its customers do not change."""
    await service.in_transaction(lambda connection: delete_segment(connection, organisation, segment_id))
    return DeletedSegment(id=segment_id)


@router.get("/v1/segments/{segment_id}/customers", summary="List the customers of a segment")
async def customers(
    segment_id: str, page: PageDep, service: ServiceDep, organisation: Organisation
) -> CustomerProfileList:
    """Lists the profiles of the customers who are in the segment now, one page at a time."""
    found = await service.read(
        lambda connection: list_members(
            connection, organisation, get_segment(connection, organisation, segment_id), page
        )
    )
    return CustomerProfileList.of(found, CustomerProfileObject.of, lambda profile: profile.customer)


@router.get(
    "/v1/segments/{segment_id}/export",
    summary="Export the customers of a segment as Parquet",
    response_class=Response,
    responses={
        200: {
            "description": "A Parquet file with one row for each customer",
            "content": {PARQUET: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def export(segment_id: str, service: ServiceDep, organisation: Organisation) -> Response:
    """Returns the values that are numbers, texts or booleans, each as a column. The cluster keeps no copy of
    the file, so it holds no data of a customer who is erased later.
    """

    def write(connection: Connection[Any]) -> BinaryIO:
        segment = get_segment(connection, organisation, segment_id)
        file = tempfile.TemporaryFile(prefix="segment-")  # noqa: SIM115  the answer reads and closes the file
        try:
            export_members(connection, organisation, segment, file)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    file = await service.read(write)
    headers = {"content-disposition": 'attachment; filename="profiles.parquet"'}
    return StreamingResponse(_pieces(file), media_type=PARQUET, headers=headers)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(READ_BYTES):
            yield piece
