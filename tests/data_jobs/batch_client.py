"""Does what a client of the Batch API does, and answers requests of batches as a test sets it."""

import asyncio
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from cluster.budgets.reservations import BatchHolder
from cluster.documents.batches import batches
from cluster.documents.batches.batch_answers import RequestAnswer
from cluster.documents.batches.batches import NewBatch, RequestBatch, get_batch
from cluster.documents.files import get_file
from cluster.errors import ClusterError
from cluster.organisations.organisations import StorageLimits
from data_jobs.kinds import answer_requests
from tests.data_jobs.running_consumer import LocalAnswerer, LocalClient
from tests.waiting import until

MODEL = "all-MiniLM-L6-v2"


@dataclass(frozen=True)
class BatchClient(LocalClient):
    """Does what a client of the Batch API does, by calling the functions behind the routes."""

    def create(self, lines: list[Any], **options: Any) -> RequestBatch:
        data = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
        file = self.upload("requests.jsonl", data, "application/jsonl", "batch")
        with self.pool.connection() as connection:
            new = NewBatch(input_file=file.id, **options)
            return batches.create_batch(connection, self.organisation, new, default_limits=StorageLimits())

    def batch(self, id: str) -> RequestBatch:
        with self.pool.connection() as connection:
            return get_batch(connection, self.organisation, id)

    def cancel(self, id: str) -> RequestBatch:
        with self.pool.connection() as connection:
            return batches.cancel_batch(connection, self.organisation, id)

    def ended_batch(self, id: str) -> RequestBatch:
        found: RequestBatch = until(lambda: self.batch(id), lambda batch: batch.status.ended)
        return found

    def lines(self, file: str | None) -> list[dict[str, Any]]:
        if file is None:
            return []
        with self.pool.connection() as connection:
            found = get_file(connection, self.organisation, file)
        assert found.purpose == "batch_output"
        return [json.loads(line) for line in self.blobs.read(self.organisation, found.sha256).splitlines()]

    def files(self, batch: RequestBatch) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The lines of the output file and of the error file."""
        return self.lines(batch.output_file), self.lines(batch.error_file)

    def usage(self, kind: str = "embedding") -> list[tuple[str, str, int]]:
        """The sums of the events of a kind, by model and source."""
        with self.pool.connection() as connection:
            return connection.execute(
                "SELECT model, source, sum(quantity)::int FROM usage_events WHERE organisation = %s"
                " AND kind = %s GROUP BY model, source",
                [self.organisation, kind],
            ).fetchall()


def request(id: str, input: Any = "a text", **body: Any) -> dict[str, Any]:
    return {
        "custom_id": id,
        "method": "POST",
        "url": "/v1/embeddings",
        "body": {"model": MODEL, "input": input, **body},
    }


def ids(lines: list[dict[str, Any]]) -> list[str]:
    return [line["custom_id"] for line in lines]


@dataclass
class Answerer:
    """Answers as the endpoint does, unless a test sets another behaviour."""

    local: LocalAnswerer
    #: Number of calls that are answered. Later calls wait.
    permitted: float = math.inf
    #: Raised by calls, the last one first.
    errors: list[Exception] = field(default_factory=list)
    #: If a line contains the key, the error takes the place of the answer, once.
    refusals: dict[bytes, ClusterError] = field(default_factory=dict)
    #: The lines of each call that has begun.
    calls: list[list[bytes]] = field(default_factory=list)

    async def __call__(
        self,
        lines: list[bytes],
        *,
        organisation: str,
        fingerprints: Mapping[str, str],
        holder: BatchHolder | None = None,
    ) -> list[RequestAnswer | ClusterError]:
        self.calls.append(lines)
        while self.permitted < 1:
            await asyncio.sleep(0.01)
        self.permitted -= 1
        if self.errors:
            raise self.errors.pop()
        answers = await self.local(lines, organisation=organisation, fingerprints=fingerprints, holder=holder)
        for key in list(self.refusals):
            for position, line in enumerate(lines):
                if key in line:
                    answers[position] = self.refusals.pop(key)
        return answers


def make_parts_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit parts and calls to five requests, with two calls at once."""
    monkeypatch.setattr(answer_requests, "REQUESTS_PER_CALL", 5)
    monkeypatch.setattr(answer_requests, "CALLS_AT_ONCE", 2)
    monkeypatch.setattr(answer_requests, "CALLS_IN_MEMORY", 2)
    monkeypatch.setattr(answer_requests, "PART_REQUESTS", 5)
    monkeypatch.setattr(answer_requests, "CHECK_S", 0.05)
