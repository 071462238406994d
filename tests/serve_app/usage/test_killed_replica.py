"""``kill -9`` of a replica loses no usage of a request that it answered."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from queue import Queue

import httpx
from psycopg_pool import ConnectionPool

from cluster.settings import MIB
from cluster.usage.events import UsageEvent, record_usage
from serve_app.usage.usage_recorder import UsageRecorder
from tests.conftest import ROOT
from tests.hashing_engine import NAME, SOURCE

CLIENTS = 8
#: Answers after which the replica is killed.
ANSWERS = 300
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


def ask_until_killed(url: str, answers: Queue[int]) -> None:
    """Send requests until the server is dead. Queue the tokens of each answer that has arrived as a whole."""
    with httpx.Client(base_url=url, timeout=30) as client:
        for number in count():
            text = " ".join(["word"] * (1 + number % 17))
            try:
                answer = client.post("/v1/embeddings", json={"model": NAME, "input": text})
            except httpx.TransportError:
                return
            assert answer.status_code == 200
            answers.put(answer.json()["usage"]["total_tokens"])


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


def test_the_usage_of_every_answered_request_outlives_kill_9(
    pool: ConnectionPool, database_url: str, organisation: str, tmp_path: Path
) -> None:
    answers: Queue[int] = Queue()
    with (
        replica(tmp_path, organisation, database_url) as (process, url),
        ThreadPoolExecutor(CLIENTS) as clients,
    ):
        asking = [clients.submit(ask_until_killed, url, answers) for _ in range(CLIENTS)]
        until_killed = [answers.get(timeout=60) for _ in range(ANSWERS)]
        process.kill()
        for one in asking:
            one.result()
    tokens = [*until_killed, *answers.queue]
    UsageRecorder(sent_to(pool), tmp_path / "usage", max_bytes=MIB).close()  # the next replica
    found = recorded(pool, organisation)
    # A request of each client was on its way when the replica died. It may have been recorded, if its answer
    # was about to be sent.
    assert len(tokens) <= found.requests <= len(tokens) + CLIENTS
    assert sum(tokens) <= found.tokens <= sum(tokens) + CLIENTS * MOST_TOKENS
    assert list((tmp_path / "usage").iterdir()) == []
