"""Run one batch while the processes that execute it are killed, and check its answers and its usage.

The worker is killed twice, the replica of the endpoint once. Then the whole Ray head is killed, and
``make up`` starts it again. One request in a hundred is wrong. If the benchmark itself is interrupted, the
batch continues, and the benchmark can continue with it. ``__main__`` calls ``measure``.
"""

import random
import subprocess
import sys
import time

from openai.types import Batch
from rich.console import Console
from rich.table import Table

from benchmarks.batches.batch_run import ENDED, ENDPOINT, MODEL, POLL_S, WORKERS, BatchRun, done, new_texts
from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.engines import Registry, open_tokeniser
from cluster.local import ray_head
from cluster.local.environment import MARK
from cluster.local.processes import family, kill, wait_gone

#: What is killed once this part of the requests is answered.
HEAD = "Ray head"
KILLS = ((0.1, WORKERS), (0.3, ENDPOINT), (0.5, WORKERS), (0.7, HEAD))
GONE_S = 10.0
#: One request in so many has no input.
WRONG_EVERY = 100


def measure(run: BatchRun, *, requests: int, words: int, batch_id: str | None) -> int:
    """Run the batch, print which processes were killed and which faults were found, and return the exit code.

    Args:
        run: the running cluster.
        requests: number of requests of a new batch.
        words: number of words of each text.
        batch_id: the batch of an interrupted run; None: a new batch.
    """
    batch = _new(run, requests, words) if batch_id is None else run.client.batches.retrieve(batch_id)
    print(f"the batch is {batch.id}", file=sys.stderr)
    remaining = [kill for kill in KILLS if batch_id is None or kill[0] > _share(batch)]
    began = time.perf_counter()
    kills = Table("requests answered", "seconds", "killed")
    while batch.status not in ENDED:
        if remaining and _share(batch) >= remaining[0][0]:
            _, what = remaining.pop(0)
            kills.add_row(f"{done(batch):,}", f"{time.perf_counter() - began:.0f}", what)
            _kill(run, what)
        time.sleep(POLL_S)
        batch = run.now(batch)
    kills.add_row(f"{done(batch):,}", f"{time.perf_counter() - began:.0f}", "")
    findings = _check(run, batch)
    found = Table("promise", "expected", "found")
    for promise, expected, value in findings:
        found.add_row(promise, expected, value)
    for table in (kills, found):
        Console(width=100).print(table)
    if remaining:
        print(f"the batch ended before {len(remaining)} of the kills", file=sys.stderr)
    return int(bool(remaining) or any(expected != value for _, expected, value in findings))


def _new(run: BatchRun, requests: int, words: int) -> Batch:
    wrong = set(random.sample(range(requests), requests // WRONG_EVERY))
    texts = new_texts(requests, words=words)
    return run.create("" if number in wrong else text for number, text in enumerate(texts))


def _share(batch: Batch) -> float:
    """Return the share of the requests that have an answer; 0 while the number of requests is not known."""
    total = batch.request_counts.total if batch.request_counts else 0
    return done(batch) / total if total else 0.0


def _kill(run: BatchRun, what: str) -> None:
    """Kill the process with SIGKILL. After the whole head is killed, start it again."""
    if what != HEAD:
        while (replica := run.replica(what)) is None:
            time.sleep(POLL_S)
        replica.kill()
        return
    head = ray_head.running(run.settings)
    if head is None:
        raise SystemExit("no Ray head of this home runs; start it with make up")
    processes = family(MARK, head.folder, session=head.pid)
    random.shuffle(processes)
    kill(processes)
    wait_gone(processes, GONE_S)
    subprocess.run([sys.executable, "-m", "cluster.local", "up"], check=True, capture_output=True)


def _check(run: BatchRun, batch: Batch) -> list[tuple[str, str, str]]:
    """Return each promise with the expected value and the value that was found, as texts."""
    asked = {line["custom_id"]: line["body"]["input"] for line in run.lines(batch.input_file_id)}
    output, error = run.lines(batch.output_file_id), run.lines(batch.error_file_id)
    in_output = [id for id, text in asked.items() if text]
    in_error = [id for id, text in asked.items() if not text]
    tokeniser = open_tokeniser(Registry(run.settings).default)
    tokens = int((tokeniser.count([asked[id] for id in in_output]) + tokeniser.special_tokens).sum())
    in_answers = sum(line["response"]["body"]["usage"]["total_tokens"] for line in output)
    with open_pool(run.settings, access=OWNER) as pool, pool.connection() as connection:
        query = "SELECT coalesce(sum(quantity), 0)::bigint FROM usage_events"
        query += " WHERE job = %s AND model = %s AND unit = 'tokens'"
        (recorded,) = connection.execute(query, [batch.to_dict()["job_id"], MODEL]).fetchone() or (0,)
    in_batch = batch.usage.total_tokens if batch.usage else 0
    return [
        ("status", "completed", batch.status),
        ("answers in the output file", f"{len(in_output):,}", f"{len(output):,}"),
        ("answers in the error file", f"{len(in_error):,}", f"{len(error):,}"),
        ("custom_ids in the right file, in order", "True", str(_ids(output, error) == (in_output, in_error))),
        ("tokens of the answers", f"{tokens:,}", f"{in_answers:,}"),
        ("tokens of the batch", f"{tokens:,}", f"{in_batch:,}"),
        ("tokens in the recorded usage", f"{tokens:,}", f"{recorded:,}"),
    ]


def _ids(output: list[dict[str, str]], error: list[dict[str, str]]) -> tuple[list[str], list[str]]:
    return [line["custom_id"] for line in output], [line["custom_id"] for line in error]
