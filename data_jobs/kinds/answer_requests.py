"""Send the requests of a batch to the models, and store the answers in parts, in the order of the lines.

Several calls with many requests each are in flight, so that the models always have full batches to compute.
The number of requests in memory does not depend on the size of the batch.

    reached = await AnswerRequests(resources, attempt, hold)()       # BatchStatus.COMPLETED
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import count, takewhile
from typing import Any

from psycopg import Connection

from cluster.blobs import Blob, BlobStore, BlobWriter
from cluster.documents.batches import batch_progress
from cluster.documents.batches.batch_answers import RequestAnswer, answered_line
from cluster.documents.batches.batch_input import RequestLine, read_requests
from cluster.documents.batches.batch_progress import BatchPart
from cluster.documents.batches.batches import BatchStatus, RequestBatch, get_batch, lock_batch
from cluster.errors import (
    BudgetExceeded,
    ClusterError,
    Permanent,
    ProviderUnavailable,
    Retryable,
    Throttled,
    Unavailable,
)
from cluster.jobs import attempts, progress
from data_jobs.kinds.resources import Resources
from data_jobs.worker.budget_hold import BudgetHold
from data_jobs.worker.job_attempt import BACKOFF, JobAttempt

#: Maximum number of requests in a call to the models, and maximum number of bytes of the lines of these
#: requests. 16 KiB of lines have about 4,000 tokens of English, enough to fill a batch of the model.
REQUESTS_PER_CALL, BYTES_PER_CALL = 64, 16 * 1024
#: Maximum number of calls that the models answer at the same time.
CALLS_AT_ONCE = 8
#: Maximum number of calls that are in flight, or whose answers wait for the answer to an earlier call.
CALLS_IN_MEMORY = 2 * CALLS_AT_ONCE
#: Maximum number of inputs of all calls in memory together, unless a single call has more inputs. The answer
#: to an input can take 40 KB, if the model has vectors of 3,072 numbers.
INPUTS_IN_MEMORY = 4_096
#: A part ends after this number of requests, bytes of answers or seconds. After a lost attempt, the next
#: attempt repeats at most one part and the calls whose answers are not in a part.
PART_REQUESTS, PART_BYTES, PART_S = 2_000, 32 * 1024 * 1024, 5.0
#: Seconds between two checks whether the batch was cancelled or its completion window has ended.
CHECK_S = 1.0
#: Maximum number of attempts at a call that the models do not answer. Then the job gives up its slot.
ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class _Call:
    """Requests that are sent together, and their answers."""

    requests: Sequence[RequestLine]
    answers: "asyncio.Task[tuple[list[RequestAnswer], BudgetExceeded | None]]"

    @property
    def inputs(self) -> int:
        return sum(request.inputs for request in self.requests)


class AnswerRequests:
    """Sends the requests of a batch that have no answer in a part yet, and stores the answers in parts. It is
    safe to call an instance again.

    Args:
        resources: ``answer`` sends requests to the models, and ``blobs`` is the blob store.
        attempt: receives the progress, and repeats a call that the models refuse for a temporary reason.
        hold: keeps what the requests in flight may use of the organisation's budgets.
    """

    def __init__(self, resources: Resources, attempt: JobAttempt, hold: BudgetHold) -> None:
        self._resources, self._attempt, self._hold = resources, attempt, hold
        self._slots = asyncio.Semaphore(CALLS_AT_ONCE)
        self._calls: deque[_Call] = deque()

    async def __call__(self) -> BatchStatus | Retryable | BudgetExceeded:
        """Return the status that the batch has reached, or the error that says why the models cannot answer
        now, or which budget does not cover the next requests.

        Raises:
            Permanent: no request can be answered until an operator changes something.
        """
        batch = await self._attempt.in_transaction(self._read)
        with ExitStack() as stack:
            file = stack.enter_context(
                await self._attempt.in_thread(
                    partial(self._resources.blobs.open, batch.organisation, batch.input_sha256)
                )
            )
            limit = self._attempt.settings.max_request_bytes
            requests = read_requests(file, first_line=batch.next_line, max_line_bytes=limit)
            part = stack.enter_context(_PartWriter(self._resources.blobs, batch, batch.next_line))
            try:
                reached = await self._answer_all(batch, _groups(requests), part)
            finally:
                for call in self._calls:
                    call.answers.cancel()
                await asyncio.gather(*(call.answers for call in self._calls), return_exceptions=True)
                self._calls.clear()
        if isinstance(reached, Permanent) and not isinstance(reached, BudgetExceeded):
            raise reached
        return reached

    async def _answer_all(
        self, batch: RequestBatch, groups: Iterator[list[RequestLine]], part: "_PartWriter"
    ) -> BatchStatus | Retryable | Permanent:
        """Send the requests and store the answers until all requests are answered, the batch must end or the
        models cannot answer. Return the status of the batch, or the error of the models.
        """
        ended: BatchStatus | Retryable | Permanent | None = None
        checked_at = 0.0
        upcoming = await self._attempt.in_thread(partial(next, groups, None))
        while ended is None:
            if time.monotonic() - checked_at >= CHECK_S:
                checked_at, ended = time.monotonic(), await self._ended()
            while ended is None and upcoming and self._has_room(upcoming):
                answers = asyncio.create_task(self._answers(batch, upcoming))
                self._calls.append(_Call(upcoming, answers))
                upcoming = await self._attempt.in_thread(partial(next, groups, None))
            if ended is None and not self._calls:
                ended = BatchStatus.COMPLETED
            if ended is None:
                ended = await self._store_next(part)
            if part.requests and (ended is not None or part.is_full):
                await self._commit(part)
        return ended

    def _has_room(self, upcoming: Sequence[RequestLine]) -> bool:
        inputs = sum(call.inputs for call in self._calls) + sum(request.inputs for request in upcoming)
        return not self._calls or (len(self._calls) < CALLS_IN_MEMORY and inputs <= INPUTS_IN_MEMORY)

    async def _store_next(self, part: "_PartWriter") -> Retryable | Permanent | None:
        """Wait up to ``CHECK_S`` seconds for the answers to the oldest call, and write these answers to the
        part. If the models cannot answer the call, return the reason.
        """
        call = self._calls[0]
        await asyncio.wait([call.answers], timeout=CHECK_S)
        if not call.answers.done():
            return None
        try:
            answers, exceeded = call.answers.result()
        except (Retryable, Permanent) as exc:
            return exc
        if answers:
            await self._attempt.in_thread(partial(part.write, call.requests[: len(answers)], answers))
        if exceeded is None:
            self._calls.popleft()
        self._attempt.goes_on()
        return exceeded

    async def _answers(
        self, batch: RequestBatch, requests: Sequence[RequestLine]
    ) -> tuple[list[RequestAnswer], BudgetExceeded | None]:
        """Return the answer to each request. Requests that the models refuse for a temporary reason are sent
        again. If a budget does not cover a request, return the answers to the requests before it, and the
        error.

        Raises:
            Retryable: the models did not answer for a while, or ask for a long pause.
            Permanent: no request can be answered until an operator changes something.
        """
        answers: list[RequestAnswer | None] = [None] * len(requests)
        exceeded: BudgetExceeded | None = None

        async def send() -> None:
            nonlocal exceeded
            missing = [position for position, answer in enumerate(answers) if answer is None]
            sent = [requests[position] for position in missing]
            refused: Retryable | None = None
            for position, answer in zip(missing, await self._send(batch, sent), strict=True):
                if isinstance(answer, Retryable):
                    refused = answer
                elif isinstance(answer, BudgetExceeded):
                    exceeded = exceeded or answer
                elif isinstance(answer, ClusterError):
                    raise answer
                else:
                    answers[position] = answer
            if isinstance(refused, Throttled):
                self._attempt.goes_on()  # the models work, so the wait must not use up the time limit
            if refused is not None and exceeded is None:
                raise refused

        for number in count(1):
            try:
                async with self._slots:
                    await self._attempt.answer(send)
                break
            except (Throttled, ProviderUnavailable):
                raise
            except Retryable as exc:
                if number == ATTEMPTS:
                    raise
                await asyncio.sleep(BACKOFF.wait_s(number, exc))
        return [
            answer for answer in takewhile(lambda answer: answer is not None, answers) if answer
        ], exceeded

    async def _send(
        self, batch: RequestBatch, requests: Sequence[RequestLine]
    ) -> list[RequestAnswer | ClusterError]:
        holder = self._hold.of_requests([request.number for request in requests])
        try:
            return await self._resources.answer(
                [request.data for request in requests],
                organisation=batch.organisation,
                fingerprints=batch.fingerprints,
                holder=holder,
            )
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Unavailable("the model server cancelled the call") from exc

    async def _ended(self) -> BatchStatus | None:
        """Return the status in which the batch must end before all requests are answered; None if the batch
        need not end yet.
        """
        batch = await self._attempt.in_transaction(self._read)
        if batch.status == BatchStatus.CANCELLING:
            return BatchStatus.CANCELLED
        return BatchStatus.EXPIRED if batch.expires_at <= datetime.now(UTC) else None

    def _read(self, connection: Connection[Any]) -> RequestBatch:
        self._hold.look_up(connection)
        return get_batch(connection, self._attempt.job.organisation, self._attempt.job.input["batch"])

    async def _commit(self, part: "_PartWriter") -> None:
        """Store the part, record the progress, and begin the next part."""
        finished = await self._attempt.in_thread(part.finish)
        batch = await self._attempt.in_transaction(partial(self._add, finished))
        done = batch.completed + batch.failed
        await self._attempt.progress(done, batch.total, now=True)

    def _add(self, part: BatchPart, connection: Connection[Any]) -> RequestBatch:
        job = self._attempt.job
        batch = lock_batch(connection, job.organisation, job.input["batch"])
        attempts.hold(connection, job)
        batch_progress.add_part(connection, self._resources.blobs, batch, part)
        self._hold.release_requests(connection, range(part.first_line, part.next_line))
        progress.renew_attempts(connection, job)
        return get_batch(connection, job.organisation, batch.id)


def _groups(requests: Iterator[RequestLine]) -> Iterator[list[RequestLine]]:
    """Divide the requests into groups. Each group is sent in one call."""
    group: list[RequestLine] = []
    size = 0
    for request in requests:
        if group and (size + len(request.data) > BYTES_PER_CALL or len(group) == REQUESTS_PER_CALL):
            yield group
            group, size = [], 0
        group.append(request)
        size += len(request.data)
    if group:
        yield group


@dataclass
class _PartWriter:
    """Writes the answers to consecutive requests into blobs. The methods block, so call them in a thread."""

    blobs: BlobStore
    batch: RequestBatch
    #: Number of the first line of the current part.
    first_line: int
    requests: int = 0
    _next_line: int = 0
    _bytes: int = 0
    _began_at: float = 0.0
    _writers: dict[bool, BlobWriter] = field(default_factory=dict)
    _counts: Counter[bool] = field(default_factory=Counter)
    _tokens: Counter[str] = field(default_factory=Counter)
    _by_model: Counter[str] = field(default_factory=Counter)

    @property
    def is_full(self) -> bool:
        """True if the part is large or old enough to be stored."""
        return (
            self.requests >= PART_REQUESTS
            or self._bytes >= PART_BYTES
            or time.monotonic() - self._began_at >= PART_S
        )

    def write(self, requests: Sequence[RequestLine], answers: Sequence[RequestAnswer]) -> None:
        """Append the answers to the blobs of the part."""
        if not self.requests:
            self._began_at = time.monotonic()
        for request, answer in zip(requests, answers, strict=True):
            if answer.succeeded not in self._writers:
                self._writers[answer.succeeded] = self.blobs.writer(self.batch.organisation)
            line = answered_line(self.batch.id, request, answer)
            self._writers[answer.succeeded].write(line)
            self._bytes += len(line)
            self._counts[answer.succeeded] += 1
            if answer.model:
                self._tokens[answer.model] += answer.tokens
                self._by_model[answer.model] += 1
        self.requests += len(requests)
        self._next_line = requests[-1].number + 1

    def finish(self) -> BatchPart:
        """Store the blobs, return the part, and begin the next part."""
        blobs: dict[bool, Blob] = {good: writer.commit() for good, writer in self._writers.items()}
        part = BatchPart(
            first_line=self.first_line,
            next_line=self._next_line,
            output=blobs.get(True),
            error=blobs.get(False),
            completed=self._counts[True],
            failed=self._counts[False],
            tokens=dict(self._tokens),
            requests=dict(self._by_model),
        )
        self.first_line, self.requests, self._bytes = self._next_line, 0, 0
        self._writers, self._counts, self._tokens, self._by_model = {}, Counter(), Counter(), Counter()
        return part

    def __enter__(self) -> "_PartWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        for writer in self._writers.values():
            writer.discard()
