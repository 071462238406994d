"""Create, get, list and cancel batches of requests.

A batch names an input file with one request on each line. Its job (kind ``embed_batch``) checks the file,
sends the requests to the models, and writes the output file and the error file. ``batch_progress`` records
what the job has done.

    with connection.transaction():
        batch = create_batch(connection, "default", NewBatch(input_file="file-1"), default_limits=limits)
    get_batch(connection, "default", batch.id).status
"""

import re
import secrets
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cluster.database.paging import ListPage, ListStatements, PageRequest, read_page
from cluster.database.queries import queries
from cluster.documents.batches.batch_input import ENDPOINT, MAX_FILE_BYTES, InputError
from cluster.documents.files import File, keep_file, require_room
from cluster.errors import Conflict, InvalidInput, NotFound
from cluster.jobs import queue
from cluster.jobs.jobs import JobState, PriorityClass, new_job_id
from cluster.jobs.kinds import EMBED_BATCH
from cluster.organisations.caller import require_all_models
from cluster.organisations.organisations import StorageLimits

#: The purpose of input files.
INPUT_PURPOSE = "batch"
#: Pattern of a completion window: a number, then ``m``, ``h`` or ``d`` for minutes, hours or days. OpenAI's
#: API accepts only ``24h``.
WINDOW = re.compile(r"([1-9][0-9]{0,5})([mhd])")
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
DEFAULT_WINDOW, LONGEST_WINDOW = "24h", timedelta(days=30)


class BatchStatus(StrEnum):
    """The status of a batch, as in OpenAI's API."""

    #: The job has not begun, or it checks the input file.
    VALIDATING = "validating"
    #: The job sends requests to the models.
    IN_PROGRESS = "in_progress"
    #: The job writes the output file and the error file.
    FINALIZING = "finalizing"
    #: Every request has an answer.
    COMPLETED = "completed"
    #: The input file has a line that is not a request, or the job failed.
    FAILED = "failed"
    #: The completion window ended before every request had an answer.
    EXPIRED = "expired"
    #: The batch was cancelled, and its files are not written yet.
    CANCELLING = "cancelling"
    #: The batch was cancelled.
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """True if the batch does not change any more."""
        return self in {
            BatchStatus.COMPLETED,
            BatchStatus.FAILED,
            BatchStatus.EXPIRED,
            BatchStatus.CANCELLED,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class NewBatch:
    """The properties of a new batch."""

    #: Id of the file with the requests.
    input_file: str
    completion_window: str = DEFAULT_WINDOW
    metadata: dict[str, str] | None = None
    #: Seconds until the output file and the error file expire; None: they do not expire.
    output_lifetime_s: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestBatch:
    """A batch of requests."""

    organisation: str
    id: str
    #: The path of every request.
    endpoint: str
    input_file: str
    #: SHA-256 of the input file's bytes. It names the blob, which is kept until the batch has ended.
    input_sha256: str
    completion_window: str
    metadata: dict[str, str] | None
    output_lifetime_s: int | None
    #: Id of the job.
    job: str
    status: BatchStatus
    #: The reasons why the batch failed.
    errors: list[InputError]
    #: For each model, by name, the id of the model's fingerprint when the batch began. Vectors with another
    #: fingerprint are refused.
    fingerprints: dict[str, str]
    #: Number of requests; 0 until the input file is checked.
    total: int
    #: Number of requests with a line in the output file.
    completed: int
    #: Number of requests with a line in the error file.
    failed: int
    #: Number of the first line of the input file that has no answer, from 1.
    next_line: int
    #: For each model, by name, the number of tokens that the model read.
    tokens: dict[str, int]
    output_file: str | None
    error_file: str | None
    created_at: datetime
    #: End of the completion window.
    expires_at: datetime
    in_progress_at: datetime | None
    finalizing_at: datetime | None
    completed_at: datetime | None
    failed_at: datetime | None
    expired_at: datetime | None
    cancelling_at: datetime | None
    cancelled_at: datetime | None


#: The SQL of columns that depend on the batch and on its job. If the job was cancelled, an open batch has the
#: status ``cancelling``.
COMPUTED = {
    "status": "CASE WHEN batches.status IN ('validating', 'in_progress', 'finalizing')"
    " AND (batches.cancelling_at IS NOT NULL OR jobs.state = 'cancelled')"
    " THEN 'cancelling' ELSE batches.status END AS status",
    "cancelling_at": "CASE WHEN jobs.state = 'cancelled'"
    " THEN coalesce(batches.cancelling_at, jobs.finished_at) ELSE batches.cancelling_at END AS cancelling_at",
}
COLUMNS = ", ".join(COMPUTED.get(field.name, f"batches.{field.name}") for field in fields(RequestBatch))
WITH_JOB = "LEFT JOIN jobs ON (jobs.organisation, jobs.id) = (batches.organisation, batches.job)"
SQL = {
    name: text.replace("{columns}", COLUMNS).replace("{with_job}", WITH_JOB)
    for name, text in queries("cluster.documents.batches", "batches.sql").items()
}
LISTS = ListStatements(newest=SQL["newest"], oldest=SQL["oldest"], places=SQL["places"])


def create_batch(
    connection: Connection[Any],
    organisation: str,
    new: NewBatch,
    *,
    default_limits: StorageLimits,
    priority_class: PriorityClass = EMBED_BATCH.priority_class,
    priority: int = queue.DEFAULT_PRIORITY,
    attempts: int | None = None,
    run_at: datetime | None = None,
) -> RequestBatch:
    """Create a batch and its job, in the caller's transaction.

    Args:
        default_limits: limits from the settings, for an organisation without limits of its own.
        priority_class, priority, attempts: as in ``queue.submit``.
        run_at: the earliest time at which the job begins; the completion window begins then, too.

    Raises:
        InvalidInput: the file has another purpose or is too large, or the completion window is wrong.
        NotFound: the organisation has no such file.
        Throttled: the organisation has reached a limit on what it stores.
        NotPermitted: the caller's key is limited to some models, but the file can name any model.
    """
    require_all_models("a batch")
    window = _window(new.completion_window)
    file = _requests_file(connection, organisation, new.input_file)
    # The size of the answers is not known yet. So this call only checks that the organisation has not reached
    # a limit.
    require_room(connection, organisation, default_limits=default_limits, files=1, bytes=1)
    id, job = f"batch_{secrets.token_hex(16)}", new_job_id()
    values = {
        **asdict(new),
        "organisation": organisation,
        "id": id,
        "endpoint": ENDPOINT,
        "input_sha256": file.sha256,
        "metadata": None if new.metadata is None else Jsonb(new.metadata),
        "job": job,
        "begins_at": run_at,
        "window_s": window.total_seconds(),
    }
    connection.execute(SQL["insert"], values)
    urgency: dict[str, Any] = {"priority_class": priority_class, "priority": priority, "run_at": run_at}
    queue.submit(
        connection, organisation, EMBED_BATCH, {"batch": id}, subject=id, attempts=attempts, id=job, **urgency
    )
    return get_batch(connection, organisation, id)


def get_batch(connection: Connection[Any], organisation: str, id: str) -> RequestBatch:
    """Return the batch with this id.

    Raises:
        NotFound: the organisation has no such batch.
    """
    return _one(connection, "get", organisation, id)


def lock_batch(connection: Connection[Any], organisation: str, id: str) -> RequestBatch:
    """Lock the batch until the transaction ends, and return it. If you also lock its job, lock the batch
    first.

    Raises:
        NotFound: the organisation has no such batch.
    """
    return _one(connection, "lock", organisation, id)


def list_batches(connection: Connection[Any], organisation: str, page: PageRequest) -> ListPage[RequestBatch]:
    """Return one page of the organisation's batches.

    Raises:
        InvalidInput: the page's cursor names no batch of the organisation.
    """
    rows = read_page(connection, LISTS, {"organisation": organisation}, page)
    return ListPage(items=[_batch(row) for row in rows.items], has_more=rows.has_more)


def cancel_batch(connection: Connection[Any], organisation: str, id: str) -> RequestBatch:
    """Cancel the batch in the caller's transaction. Requests that have an answer keep it.

    If the job is queued and the input file is not checked yet, the batch ends immediately. If the job is
    running, it notices the request, writes the output file and the error file, and ends the batch. If the job
    is queued and the input file is checked, upkeep does the same (``batch_files.end_abandoned``). A batch
    that was cancelled before does not change.

    Raises:
        NotFound: the organisation has no such batch.
        Conflict: the batch has ended with another status.
    """
    batch = lock_batch(connection, organisation, id)
    if batch.status == BatchStatus.CANCELLED:
        return batch
    if batch.status.ended:
        raise Conflict(f"batch {id} is {batch.status}; only a batch that has not ended can be cancelled")
    key = {"organisation": organisation, "id": id}
    connection.execute(SQL["cancel"], key)
    job = queue.lock_job(connection, organisation, batch.job)
    if job.state == JobState.QUEUED:
        queue.cancel(connection, organisation, batch.job, reason=f"its batch {id} was cancelled")
        if batch.in_progress_at is None:
            no_files = {"errors": Jsonb([]), "unanswered": 0, "output_file": None, "error_file": None}
            connection.execute(SQL["end"], {**key, **no_files, "status": BatchStatus.CANCELLED})
    return get_batch(connection, organisation, id)


def _requests_file(connection: Connection[Any], organisation: str, id: str) -> File:
    """Return the input file, which is not deleted before the transaction ends.

    Raises:
        InvalidInput: the file has another purpose, or is too large.
        NotFound: the organisation has no such file.
    """
    file = keep_file(connection, organisation, id)
    if file.purpose != INPUT_PURPOSE:
        raise InvalidInput(
            f"file {file.id} has the purpose {file.purpose!r}; upload the requests with the purpose "
            f"{INPUT_PURPOSE!r}",
            param="input_file_id",
        )
    if file.bytes > MAX_FILE_BYTES:
        raise InvalidInput(
            f"file {file.id} has {file.bytes:,} bytes; the input file of a batch may have "
            f"{MAX_FILE_BYTES:,}. Divide it into several files",
            param="input_file_id",
        )
    return file


def _window(text: str) -> timedelta:
    found = WINDOW.fullmatch(text)
    window = int(found[1]) * UNITS[found[2]] if found else timedelta(0)
    if not timedelta(0) < window <= LONGEST_WINDOW:
        raise InvalidInput(
            f"completion_window is {text!r}; send {DEFAULT_WINDOW}, or another number of minutes (m), hours "
            f"(h) or days (d) up to {LONGEST_WINDOW.days}d",
            param="completion_window",
        )
    return window


def _one(connection: Connection[Any], statement: str, organisation: str, id: str) -> RequestBatch:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL[statement], {"organisation": organisation, "id": id}).fetchone()
    if row is None:
        raise NotFound(f"no batch {id!r}")
    return _batch(row)


def _batch(row: dict[str, Any]) -> RequestBatch:
    errors = [InputError(**error) for error in row["errors"]]
    return RequestBatch(**{**row, "status": BatchStatus(row["status"]), "errors": errors})
