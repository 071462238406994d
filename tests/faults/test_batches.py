"""SIGKILL of the worker that runs a batch, and of Postgres: each request is answered once and billed once."""

import signal
import time
from random import Random

from cluster.documents.batches.batches import RequestBatch
from cluster.engines import Registry, open_tokeniser
from tests.conftest import kill_postmaster
from tests.data_jobs.batch_client import MODEL, BatchClient, ids, request
from tests.faults.accepted_files import Home
from tests.faults.worker_processes import Workers

REQUESTS = 200
#: Number of kills of the worker that runs the batch. After the last kill, Postgres is killed too.
KILLS = 2


def test_a_batch_answers_and_bills_each_request_once_whatever_is_killed(
    home: Home, workers: Workers, chance: Random
) -> None:
    client = _client(home)
    bad = set(chance.sample(range(REQUESTS), REQUESTS // 100))
    texts = {f"{number}": "" if number in bad else f"text {number}" for number in range(REQUESTS)}
    batch = client.create([request(id, text) for id, text in texts.items()])
    done = 0
    for number in range(KILLS):
        done = _await_more(home, batch, done)
        assert done < REQUESTS, "the batch ended before the fault"
        time.sleep(chance.uniform(0, 0.5))
        _kill_worker(home, workers, batch)
        if number == KILLS - 1:
            kill_postmaster(home.settings, signal.SIGKILL)
    home.until(
        lambda: home.ask("SELECT state FROM jobs WHERE id = %s", batch.job) == [("succeeded",)], "the batch"
    )

    ended = client.batch(batch.id)
    output, error = client.files(ended)
    assert ids(output) == [id for id, text in texts.items() if text]
    assert ids(error) == [id for id, text in texts.items() if not text]
    assert (ended.status, ended.completed, ended.failed) == ("completed", REQUESTS - len(bad), len(bad))
    tokeniser = open_tokeniser(Registry(home.settings).default)
    counted = tokeniser.count([text for text in texts.values() if text]) + tokeniser.special_tokens
    assert client.usage() == [(MODEL, "batch", int(counted.sum()))]
    assert client.usage("request") == [(MODEL, "batch", REQUESTS - len(bad))]
    assert len({line["id"] for line in output + error}) == REQUESTS


def _client(home: Home) -> BatchClient:
    client = home.client()
    return BatchClient(client.settings, client.pool, client.engine, client.organisation)


def _await_more(home: Home, batch: RequestBatch, done: int) -> int:
    """Wait for one more part, and return the number of answered requests."""

    def answered() -> int:
        ((count,),) = home.ask("SELECT completed + failed FROM batches WHERE id = %s", batch.id)
        return int(count)

    home.until(lambda: answered() > done, "the next part of the batch")
    return answered()


def _kill_worker(home: Home, workers: Workers, batch: RequestBatch) -> None:
    ((worker,),) = home.ask("SELECT worker FROM jobs WHERE id = %s", batch.job)
    victim = workers.of(worker)
    if victim is not None:
        victim.kill()
