"""Does what a client of the Batch API does, by calling the functions behind the routes."""

import json
from dataclasses import dataclass
from typing import Any

from cluster.documents.batches import batches
from cluster.documents.batches.batches import NewBatch, RequestBatch, get_batch
from cluster.documents.files import get_file
from cluster.organisations.organisations import StorageLimits
from tests.data_jobs.running_consumer import LocalClient, until

MODEL = "all-MiniLM-L6-v2"


@dataclass(frozen=True)
class BatchClient(LocalClient):
    """Does what a client of the Batch API does."""

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

    def ended_batch(self, id: str, *, within_s: float = 60.0) -> RequestBatch:
        found: RequestBatch = until(
            lambda: self.batch(id), lambda batch: batch.status.ended, within_s=within_s
        )
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

    def usage(self) -> list[tuple[str, str, int]]:
        with self.pool.connection() as connection:
            return connection.execute(
                "SELECT model, source, sum(quantity)::int FROM usage_events WHERE organisation = %s"
                " GROUP BY model, source",
                [self.organisation],
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
