"""/v1/batches as in OpenAI's API: create, get, list and cancel batches of embedding requests.

A batch answers the requests of an uploaded file, within a completion window. The job of a batch runs in the
priority class ``low``.
"""

from dataclasses import asdict
from typing import Any, Literal, Self

from fastapi import Response

from cluster.documents.batches import batches
from cluster.documents.batches.batches import BatchStatus, NewBatch, RequestBatch
from cluster.organisations.organisations import StorageLimits
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep
from serve_app.edge.request_model import RequestModel, Text
from serve_app.edge.response_model import ListObject, Omissible, ResponseModel
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.files import Lifetime, unix
from serve_app.routes.vector_store_fields import Metadata

router = json_router(404)


class OutputExpiryRequest(RequestModel):
    """The time after which the output file and the error file expire."""

    anchor: Literal["created_at"]
    """Always `created_at`: the lifetime begins when the files are written."""
    seconds: Lifetime
    """Seconds after the anchor."""


class NewBatchRequest(RequestModel):
    """OpenAI's CreateBatchRequest, with more values of `completion_window`."""

    input_file_id: Text
    """Id of a file with the purpose `batch`, with one request in JSON on each line."""
    endpoint: Literal["/v1/embeddings"]
    """Path of every request in the file; only `/v1/embeddings` is accepted."""
    completion_window: Text
    """Time within which the batch ends: `24h`, or another number of minutes (`m`), hours (`h`) or days
    (`d`)."""
    metadata: Metadata | None = None
    output_expires_after: OutputExpiryRequest | None = None
    """The time after which the output file and the error file expire; by default, they do not expire."""


class BatchErrorObject(ResponseModel):
    """One error in the input file."""

    code: str
    """Error code, for programs."""
    message: str
    """The error as a sentence."""
    param: str | None
    """Name of the wrong field of the line; null if no single field is wrong."""
    line: int | None
    """Number of the line in the input file, from 1; null if the error is about the whole file."""


class BatchErrors(ResponseModel):
    """The reasons why a batch failed."""

    object: Literal["list"] = "list"
    """Always `list`."""
    data: list[BatchErrorObject]
    """The errors in the order of the lines, at most 1,000."""


class BatchRequestCounts(ResponseModel):
    """Counts of the requests of a batch."""

    total: int
    """Number of requests in the input file; 0 until the file is checked."""
    completed: int
    """Number of requests that succeeded."""
    failed: int
    """Number of requests that failed, or that were not executed because the batch ended first."""


class InputTokensDetails(ResponseModel):
    """Details of the input tokens."""

    cached_tokens: int = 0
    """Always 0."""


class OutputTokensDetails(ResponseModel):
    """Details of the output tokens."""

    reasoning_tokens: int = 0
    """Always 0."""


class BatchUsage(ResponseModel):
    """The tokens of all requests of a batch."""

    input_tokens: int
    """Number of tokens that the models read."""
    input_tokens_details: InputTokensDetails = InputTokensDetails()
    """Details of the input tokens."""
    output_tokens: int = 0
    """Always 0, because embedding models write no tokens."""
    output_tokens_details: OutputTokensDetails = OutputTokensDetails()
    """Details of the output tokens."""
    total_tokens: int
    """The same number as `input_tokens`."""


class BatchObject(ResponseModel):
    """OpenAI's Batch, with `job_id` added. Times are in seconds since 1970."""

    id: str
    """Id of the batch, `batch_...`."""
    object: Literal["batch"] = "batch"
    """Always `batch`."""
    endpoint: str
    """Path of every request."""
    model: Omissible[str] = None
    """Name of the model that read the inputs; left out if no model or several models read inputs."""
    errors: Omissible[BatchErrors] = None
    """The reasons why the batch failed; left out if it did not fail."""
    input_file_id: str
    """Id of the file with the requests."""
    completion_window: str
    """Time within which the batch ends."""
    status: BatchStatus
    """`validating`, `in_progress`, `finalizing` or `cancelling`; then `completed`, `failed`, `expired` or
    `cancelled`."""
    output_file_id: Omissible[str] = None
    """Id of the file with the answers; left out until the batch has ended, and if no request succeeded."""
    error_file_id: Omissible[str] = None
    """Id of the file with the requests that failed; left out until the batch has ended, and if no request
    failed.
    """
    created_at: int
    """Time at which the batch was created."""
    in_progress_at: Omissible[int] = None
    """Time at which the check of the input file ended without an error."""
    expires_at: int
    """Time at which the completion window ends."""
    finalizing_at: Omissible[int] = None
    """Time at which the batch began to write its files."""
    completed_at: Omissible[int] = None
    """Time at which the batch was completed."""
    failed_at: Omissible[int] = None
    """Time at which the batch failed."""
    expired_at: Omissible[int] = None
    """Time at which the batch expired."""
    cancelling_at: Omissible[int] = None
    """Time at which the cancellation was requested."""
    cancelled_at: Omissible[int] = None
    """Time at which the batch was cancelled."""
    request_counts: BatchRequestCounts
    """Counts of the requests; `completed` and `failed` grow while the batch is in progress."""
    usage: BatchUsage
    """Numbers of tokens of the requests; the numbers grow while the batch is in progress."""
    metadata: dict[str, str] | None
    """Named texts, as given when the batch was created; null if no texts were given."""
    job_id: str
    """Id of the job that executes the batch."""

    @classmethod
    def of(cls, batch: RequestBatch) -> Self:
        """Convert the batch into the object that answers contain."""
        tokens, models = sum(batch.tokens.values()), list(batch.tokens)
        errors = [BatchErrorObject(**asdict(error)) for error in batch.errors]
        return cls(
            id=batch.id,
            endpoint=batch.endpoint,
            model=models[0] if len(models) == 1 else None,
            errors=BatchErrors(data=errors) if errors else None,
            input_file_id=batch.input_file,
            completion_window=batch.completion_window,
            status=batch.status,
            output_file_id=batch.output_file,
            error_file_id=batch.error_file,
            created_at=unix(batch.created_at),
            expires_at=unix(batch.expires_at),
            **_times_of(batch),
            request_counts=BatchRequestCounts(
                total=batch.total, completed=batch.completed, failed=batch.failed
            ),
            usage=BatchUsage(input_tokens=tokens, total_tokens=tokens),
            metadata=batch.metadata,
            job_id=batch.job,
        )


class BatchList(ListObject[BatchObject]):
    """One page of the batches."""


@router.post(
    "/v1/batches",
    summary="Create a batch",
    response_model=BatchObject,
    responses=documented_errors(404, 429),
)
async def create(
    body: NewBatchRequest, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """Queues the requests of a file. Poll the batch until it has ended, then read its output file.

    A line of the file that is not a request makes the batch fail. A request that `/v1/embeddings` refuses
    becomes a line of the error file.
    """
    expiry = body.output_expires_after
    new = NewBatch(
        input_file=body.input_file_id,
        completion_window=body.completion_window,
        metadata=body.metadata,
        output_lifetime_s=None if expiry is None else expiry.seconds,
    )
    limits = StorageLimits.of(service.settings)
    return await once(
        lambda connection: BatchObject.of(
            batches.create_batch(connection, organisation, new, default_limits=limits)
        )
    )


@router.get("/v1/batches", summary="List batches")
async def list_all(page: PageDep, service: ServiceDep, organisation: Organisation) -> BatchList:
    """Lists the batches of the caller's organisation, one page at a time."""
    found = await service.read(lambda connection: batches.list_batches(connection, organisation, page))
    return BatchList.of(found, BatchObject.of, lambda batch: batch.id)


@router.get("/v1/batches/{batch_id}", summary="Get a batch")
async def retrieve(batch_id: str, service: ServiceDep, organisation: Organisation) -> BatchObject:
    """Shows the batch, with the numbers of requests that have succeeded and failed."""
    return BatchObject.of(
        await service.read(lambda connection: batches.get_batch(connection, organisation, batch_id))
    )


@router.post(
    "/v1/batches/{batch_id}/cancel",
    summary="Cancel a batch",
    response_model=BatchObject,
    responses=documented_errors(404, 409),
)
async def cancel(batch_id: str, organisation: Organisation, once: Once) -> Response:
    """Cancels a batch that has not ended. The answers that the batch already has are kept.

    The batch is `cancelling` until its output file and its error file are written. Each request that was not
    executed becomes a line of the error file.
    """
    return await once(
        lambda connection: BatchObject.of(batches.cancel_batch(connection, organisation, batch_id))
    )


def _times_of(batch: RequestBatch) -> dict[str, Any]:
    """Return the times of the events that do not happen in every batch; None if an event has not happened."""
    times = {
        "in_progress_at": batch.in_progress_at,
        "finalizing_at": batch.finalizing_at,
        "completed_at": batch.completed_at,
        "failed_at": batch.failed_at,
        "expired_at": batch.expired_at,
        "cancelling_at": batch.cancelling_at,
        "cancelled_at": batch.cancelled_at,
    }
    return {name: None if at is None else unix(at) for name, at in times.items()}
