"""Replicas in processes of their own, which tests kill, and what the database knows of their usage."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx
from psycopg_pool import ConnectionPool

from cluster.usage.events import UsageEvent, record_usage
from tests.conftest import ROOT
from tests.hashing_engine import NAME, SOURCE

#: Words and special tokens of the longest request.
MOST_TOKENS = 17 + 2


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Requests and tokens."""

    requests: int
    tokens: int


@contextmanager
def replica(home: Path, organisation: str, database_url: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A replica in its own process, and its URL."""
    environment = {
        **os.environ,
        "CLUSTER_HOME": str(home),
        "CLUSTER_ORGANISATION": organisation,
        "CLUSTER_DATABASE_URL": database_url,
        "CLUSTER_MODEL": NAME,
        "CLUSTER_MODELS": json.dumps({NAME: SOURCE}),
        "CLUSTER_LOG_LEVEL": "ERROR",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.serve_app.usage.replica"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            yield process, f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def ask(client: httpx.Client, number: int) -> int:
    """Send the request with this number, and return the tokens of its answer.

    Raises:
        httpx.TransportError: the server died before the whole answer arrived.
    """
    text = " ".join(["word"] * (1 + number % 17))
    body = {"model": NAME, "input": text}
    while (answer := client.post("/v1/embeddings", json=body)).status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        time.sleep(0.1)  # a new replica has not read the keys yet
    assert answer.status_code == HTTPStatus.OK, answer.text
    return int(answer.json()["usage"]["total_tokens"])


def recorded(pool: ConnectionPool, organisation: str) -> Counted:
    """What the database has."""
    with pool.connection() as connection:
        found = connection.execute(
            "SELECT kind, sum(quantity)::bigint FROM usage_events WHERE organisation = %s GROUP BY 1",
            [organisation],
        ).fetchall()
    sums = dict(found)
    return Counted(requests=sums.get("request", 0), tokens=sums.get("embedding", 0))


def sent_to(pool: ConnectionPool) -> Callable[[Sequence[UsageEvent]], None]:
    """Return a function that records events in the database."""

    def write(events: Sequence[UsageEvent]) -> None:
        with pool.connection() as connection:
            record_usage(connection, events)

    return write
