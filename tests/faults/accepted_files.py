"""Documents that two organisations attach in all priority classes, and what must hold after their jobs."""

import random
import time
from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from uuid import uuid4

import numpy as np
import psycopg
import pymupdf
from numpy.typing import NDArray
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.files import File
from cluster.documents.vector_stores.stores import VectorStore
from cluster.engines import Engine, Registry, open_engine
from cluster.errors import ClusterError
from cluster.jobs.jobs import PriorityClass
from cluster.organisations.organisations import ensure_organisation
from cluster.records import chunk_id, document_id
from cluster.settings import Settings
from cluster.vector_index import PGVECTOR
from tests.data_jobs.running_consumer import LocalClient
from tests.waiting import LONGEST_WAIT_S, Stopwatch

WORDS = (
    "valve pump shift boiler gauge pressure supervisor canteen"
    " ledger winter river harbour engine signal copper glass"
).split()
#: File name, page, start and text of a chunk -> its vector.
Contents = dict[tuple[str, int, int, str], NDArray[np.float32]]


@dataclass(frozen=True)
class Accepted:
    """A file whose job the queue accepted."""

    store: VectorStore
    file: File
    job: str
    #: State in which the job ends unless it is cancelled.
    state: str
    #: True if the job changes the attributes of every chunk, also of a chunk whose text it does not embed.
    changes_every_chunk: bool = False


@dataclass(frozen=True)
class Home:
    """A cluster's home whose processes the tests may kill."""

    settings: Settings
    pool: ConnectionPool

    def organisation(self) -> str:
        """Id of a new organisation."""
        id = f"org-{uuid4().hex[:12]}"
        with self.pool.connection() as connection:
            ensure_organisation(connection, id)
        return id

    def client(self, organisation: str | None = None) -> LocalClient:
        """Return a client of the organisation, or of a new organisation."""
        return LocalClient(
            self.settings, self.pool, _engine(self.settings), organisation or self.organisation()
        )

    def ask(self, statement: str, *values: Any, within_s: float = LONGEST_WAIT_S) -> list[tuple[Any, ...]]:
        """Rows of the statement, repeated while the database does not answer."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                with self.pool.connection() as connection:
                    return connection.execute(statement, values).fetchall()
            except (psycopg.Error, ClusterError):
                assert time.monotonic() < deadline, f"the database did not answer within {within_s:g} s"
                time.sleep(0.2)

    def until(self, condition: Callable[[], bool], what: str, *, within_s: float = LONGEST_WAIT_S) -> float:
        """Wait until the condition holds and return the seconds that took.

        Fail after ``within_s``, which do not count what threads waited for a processor.
        """
        started = Stopwatch()
        while not condition():
            waited_s = time.monotonic() - started.began
            assert started.seconds() < within_s, f"waited {waited_s:g} s for {what}"
            assert waited_s < max(within_s, LONGEST_WAIT_S), f"waited {waited_s:g} s for {what}"
            time.sleep(0.05)
        return time.monotonic() - started.began


def documents() -> dict[str, tuple[bytes, str]]:
    """File name -> its bytes and the state in which its job ends. The same files at every call."""
    chance = random.Random(4)
    made = {}
    for number in range(2):
        made[f"report-{number}.pdf"] = _pdf(chance, pages=8), "succeeded"
        made[f"list-{number}.txt"] = "\n\n".join(_sentence(chance) for _ in range(20)).encode(), "succeeded"
        slow = "".join(f"> - > *[](b{n})*\n\n" for n in range(3_000))
        made[f"slow-{number}.md"] = (
            f"# {_sentence(chance)}\n\n{slow}{_sentence(chance)}\n".encode(),
            "succeeded",
        )
        made[f"note-{number}.txt"] = _sentence(chance).encode(), "succeeded"
    made["long.pdf"] = _pdf(chance, pages=60), "succeeded"
    made["twice.txt"] = "\n\n".join([_sentence(random.Random(1))] * 3).encode(), "succeeded"
    made["page.html"] = (
        f"<html><body><h1>{_sentence(chance)}</h1><p>{_sentence(chance)}</p></body></html>".encode(),
        "succeeded",
    )
    made["torn.pdf"] = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog", "failed"
    return made


def attach(
    home: Home, names: Set[str] | None = None, *, index: str = PGVECTOR, **options: Any
) -> list[Accepted]:
    """Attach documents, divided between two new organisations, in all priority classes.

    Args:
        names: the documents; None means all of ``documents``.
        index: name of the index that holds the vectors.
        options: arguments of ``LocalClient.attach``.
    """
    clients = [home.client(), home.client()]
    stores = [client.store("faults", index=index) for client in clients]
    classes = list(PriorityClass)
    accepted = []
    chosen = [(name, *one) for name, one in documents().items() if names is None or name in names]
    for number, (name, data, state) in enumerate(chosen):
        client, store = clients[number % 2], stores[number % 2]
        file = client.upload(name, data)
        job = client.attach(store, file, priority_class=classes[number % len(classes)], **options)
        accepted.append(Accepted(store, file, job, state))
    return accepted


def attach_again(
    home: Home, accepted: list[Accepted], *, attributes: dict[str, int], **options: Any
) -> list[Accepted]:
    """Attach the same files to the same stores, with other attributes and options."""
    again = []
    for one in accepted:
        client = home.client(one.store.organisation)
        job = client.attach(one.store, one.file, attributes=attributes, **options)
        again.append(replace(one, job=job, changes_every_chunk=True))
    return again


def states(home: Home, accepted: list[Accepted]) -> Counter[str]:
    """State -> how many of the jobs are in it."""
    rows = home.ask(
        "SELECT state, count(*) FROM jobs WHERE id = ANY(%s) GROUP BY state", [one.job for one in accepted]
    )
    return Counter(dict(rows))


def await_end(home: Home, accepted: list[Accepted], *, within_s: float = LONGEST_WAIT_S) -> float:
    """Wait until all of the jobs have ended, and return the seconds that took."""

    def ended() -> bool:
        found = states(home, accepted)
        return found["queued"] + found["running"] == 0

    return home.until(ended, "every job to end", within_s=within_s)


def contents(home: Home, accepted: list[Accepted]) -> Contents:
    """All chunks of the files' vector stores. Each must have the id of its text, and none may occur twice."""
    found: Contents = {}
    for store in {one.store.id: one.store for one in accepted}.values():
        index = ChunkIndexes(home.settings, home.pool).of(store)
        rows = sorted(
            index.scan(store.organisation, store.id, collection=store.collection),
            key=lambda row: row.attributes["ordinal"],
        )
        equals: Counter[tuple[str, str]] = Counter()
        for row in rows:
            nth = equals[row.document, row.text]
            equals[row.document, row.text] += 1
            assert row.document == document_id(store.organisation, store.id, row.attributes["file_id"])
            assert row.id == chunk_id(row.document, row.text, nth, store.fingerprint.id)
            where = (row.attributes["filename"], row.attributes["page"], row.attributes["start"], row.text)
            assert where not in found
            assert row.vector is not None
            found[where] = row.vector
    return found


def same(found: Contents, expected: Contents) -> None:
    """Check that chunks and vectors are equal, but for the last digits, which depend on the batch."""
    assert found.keys() == expected.keys()
    assert all(float(found[where] @ expected[where]) > 0.999999 for where in found)


def check(
    home: Home, accepted: list[Accepted], expected: Contents, *, cancelled: frozenset[str] = frozenset()
) -> None:
    """Check everything that must hold after every fault.

    Args:
        cancelled: names of files whose jobs were cancelled. Such a job may have ended before that.
    """
    found = {
        id: state
        for id, state in home.ask(
            "SELECT id, state FROM jobs WHERE id = ANY(%s)", [one.job for one in accepted]
        )
    }
    gone = {one.file.filename for one in accepted if found[one.job] == "cancelled"}
    assert gone <= cancelled
    right = {one.file.filename: "cancelled" if one.file.filename in gone else one.state for one in accepted}
    wrong = [one for one in accepted if found[one.job] != right[one.file.filename]]
    assert wrong == [], home.ask(
        "SELECT subject, state, attempt, error_code, error FROM jobs WHERE id = ANY(%s)",
        [one.job for one in wrong],
    )
    same(
        contents(home, accepted),
        {where: vector for where, vector in expected.items() if where[0] not in gone},
    )
    for one in accepted:
        _check_job(home, one, found[one.job])
    assert leaseless(home) == []


def _check_job(home: Home, one: Accepted, state: str) -> None:
    key = (one.store.organisation, one.job)
    ((attempt, last_attempt, result),) = home.ask(
        "SELECT attempt, last_attempt, result FROM jobs WHERE organisation = %s AND id = %s", *key
    )
    tried = home.ask(
        "SELECT attempt, outcome, ended_at >= started_at FROM job_attempts"
        " WHERE organisation = %s AND job = %s ORDER BY attempt",
        *key,
    )
    begun = [(number, outcome) for number, outcome, _ in tried]
    if state != "cancelled" or len(begun) == attempt:  # a queued job is cancelled without another attempt
        assert [number for number, _ in begun] == list(range(1, attempt + 1)), tried
        assert begun[-1][1] == state
    assert {outcome for _, outcome in begun[: attempt - 1]} <= {"lost", "retried"}
    assert all(ended for *_, ended in tried)
    assert attempt <= last_attempt
    events = home.ask(
        "SELECT (data ->> 'attempt')::int FROM job_events WHERE organisation = %s AND job = %s ORDER BY id",
        *key,
    )
    assert events == sorted(events), "an attempt wrote an event after the next attempt had begun"
    used = home.ask("SELECT kind, quantity FROM usage_events WHERE organisation = %s AND job = %s", *key)
    done: dict[str, int] = {}
    if state == "succeeded":
        tokens = result["tokens_embedded"] + 2 * result["embedded"]  # with the special tokens of each chunk
        done = {"embedding": tokens, "page": result["pages"], "chunk": result["embedded"]}
        if one.changes_every_chunk:
            done["chunk"] = result["chunks"]
    assert sorted(used) == sorted((kind, count) for kind, count in done.items() if count)
    status = {"succeeded": "completed"}.get(state, state)
    attached = home.ask(
        "SELECT status FROM vector_store_files"
        " WHERE organisation = %s AND vector_store = %s AND file = %s AND job = %s",
        one.store.organisation, one.store.id, one.file.id, one.job,
    )  # fmt: skip
    assert attached == [(status,)]


def leaseless(home: Home) -> list[tuple[Any, ...]]:
    """Running jobs that no live worker holds."""
    return home.ask(
        """
        SELECT jobs.id, jobs.worker FROM jobs
        LEFT JOIN procrastinate_jobs AS entries ON entries.id = jobs.entry
        LEFT JOIN procrastinate_workers AS workers ON workers.id = entries.worker_id
        WHERE jobs.state = 'running' AND (entries.status IS DISTINCT FROM 'doing'
            OR coalesce(workers.last_heartbeat, '-infinity') < now() - make_interval(secs => %s))
        """,
        home.settings.lease_s,
    )


def running(home: Home, accepted: list[Accepted]) -> dict[str, tuple[str, int]]:
    """Id of each of the jobs that runs now -> its worker and the number of the attempt."""
    rows = home.ask(
        "SELECT id, worker, attempt FROM jobs WHERE state = 'running' AND id = ANY(%s)",
        [one.job for one in accepted],
    )
    return {id: (worker, attempt) for id, worker, attempt in rows}


@cache
def _engine(settings: Settings) -> Engine:
    return open_engine(Registry(settings).default)


def _pdf(chance: random.Random, *, pages: int) -> bytes:
    with pymupdf.open() as document:
        for _ in range(pages):
            document.new_page().insert_text((72, 72), _sentence(chance))
        made: bytes = document.tobytes()
        return made


def _sentence(chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=9)).capitalize() + f" {chance.randrange(10_000)}."
