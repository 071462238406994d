"""``kill -9`` of a replica loses no usage of a request that it answered."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from queue import Queue

import httpx
from psycopg_pool import ConnectionPool

from cluster.settings import MIB
from serve_app.usage.usage_recorder import UsageRecorder
from tests.serve_app.usage.killed_replicas import MOST_TOKENS, ask, recorded, replica, sent_to
from tests.waiting import LONGEST_WAIT_S

CLIENTS = 8
#: Answers after which the replica is killed.
ANSWERS = 300


def ask_until_killed(url: str, answers: Queue[int]) -> None:
    """Send requests until the server is dead. Queue the tokens of each answer that has arrived as a whole."""
    with httpx.Client(base_url=url, timeout=LONGEST_WAIT_S) as client:
        for number in count():
            try:
                answers.put(ask(client, number))
            except httpx.TransportError:
                return


def test_the_usage_of_every_answered_request_outlives_kill_9(
    pool: ConnectionPool, database_url: str, organisation: str, tmp_path: Path
) -> None:
    answers: Queue[int] = Queue()
    with (
        replica(tmp_path, organisation, database_url) as (process, url),
        ThreadPoolExecutor(CLIENTS) as clients,
    ):
        asking = [clients.submit(ask_until_killed, url, answers) for _ in range(CLIENTS)]
        until_killed = [answers.get(timeout=LONGEST_WAIT_S) for _ in range(ANSWERS)]
        process.kill()
        for one in asking:
            one.result()
    tokens = [*until_killed, *answers.queue]
    UsageRecorder(sent_to(pool), tmp_path / "usage", max_bytes=MIB).close()  # the next replica
    found = recorded(pool, organisation)
    # The replica may have died between the record of one request and its answer.
    assert len(tokens) <= found.requests <= len(tokens) + 1
    assert sum(tokens) <= found.tokens <= sum(tokens) + MOST_TOKENS
    assert list((tmp_path / "usage").iterdir()) == []
