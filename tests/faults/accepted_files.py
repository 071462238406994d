"""Documents of two organisations, attached in all classes, and what must be true of them once their jobs have ended."""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import uuid4

import numpy as np
import psycopg
import pymupdf
from numpy.typing import NDArray
from psycopg_pool import ConnectionPool

from cluster.documents.files import File
from cluster.documents.indexing import open_chunk_index
from cluster.documents.stores import VectorStore
from cluster.engines import Engine, open_engine
from cluster.errors import ClusterError
from cluster.jobs.jobs import PriorityClass
from cluster.organisations.organisations import ensure_organisation
from cluster.records import chunk_id, document_id
from cluster.settings import Settings
from tests.data_jobs.running_consumer import Desk

WORDS = "valve pump shift boiler gauge pressure supervisor canteen ledger winter river harbour engine signal copper glass".split()
#: Filename, page, start and text of a chunk -> its vector.
Contents = dict[tuple[str, int, int, str], NDArray[np.float32]]
LONGEST_S = 90.0


@dataclass(frozen=True)
class Accepted:
    """A file whose job was accepted."""

    store: VectorStore
    file: File
    job: str
    #: What becomes of it where nothing else is asked for.
    state: str


@dataclass(frozen=True)
class Place:
    """A home whose parts may be killed."""

    settings: Settings
    pool: ConnectionPool

    def organisation(self) -> str:
        """Id of a new one."""
        id = f"org-{uuid4().hex[:12]}"
        with self.pool.connection() as connection:
            ensure_organisation(connection, id)
        return id

    def desk(self) -> Desk:
        """Of a new organisation."""
        return Desk(self.settings, self.pool, _engine(self.settings), self.organisation())

    def ask(self, statement: str, *values: Any, within_s: float = LONGEST_S) -> list[tuple[Any, ...]]:
        """Rows, as soon as the database is there to give them."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                with self.pool.connection() as connection:
                    return connection.execute(statement, values).fetchall()
            except (psycopg.Error, ClusterError):
                assert time.monotonic() < deadline, "the database stayed away"
                time.sleep(0.2)

    def until(self, right: Callable[[], bool], what: str, *, within_s: float = LONGEST_S) -> float:
        """Seconds it took."""
        started = time.monotonic()
        while not right():
            assert time.monotonic() - started < within_s, f"waited {within_s:g} s for {what}"
            time.sleep(0.05)
        return time.monotonic() - started


def documents() -> dict[str, tuple[bytes, str]]:
    """Name -> bytes and the state in which the job of such a file ends; the same ones each time."""
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


def attach(place: Place) -> list[Accepted]:
    """Every document, some for each of two new organisations, in all classes."""
    desks = [place.desk(), place.desk()]
    stores = [desk.store("faults") for desk in desks]
    classes = list(PriorityClass)
    accepted = []
    for number, (name, (data, state)) in enumerate(documents().items()):
        desk, store = desks[number % 2], stores[number % 2]
        file = desk.upload(name, data)
        job = desk.attach(store, file, priority_class=classes[number % len(classes)])
        accepted.append(Accepted(store, file, job, state))
    return accepted


def states(place: Place, accepted: list[Accepted]) -> Counter[str]:
    """How many of their jobs are in which state."""
    rows = place.ask(
        "SELECT state, count(*) FROM jobs WHERE id = ANY(%s) GROUP BY state", [one.job for one in accepted]
    )
    return Counter(dict(rows))


def await_end(place: Place, accepted: list[Accepted], *, within_s: float = LONGEST_S) -> float:
    """Seconds until none of their jobs was open."""

    def ended() -> bool:
        found = states(place, accepted)
        return found["queued"] + found["running"] == 0

    return place.until(ended, "every job to end", within_s=within_s)


def contents(place: Place, accepted: list[Accepted]) -> Contents:
    """What is in their stores; every chunk under the id that its text has, and none twice."""
    found: Contents = {}
    for store in {one.store.id: one.store for one in accepted}.values():
        index = open_chunk_index(place.settings, place.pool)
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
    """The same chunks with the same vectors; other company in a batch may change a vector's last digits."""
    assert found.keys() == expected.keys()
    assert all(float(found[where] @ expected[where]) > 0.999999 for where in found)


def check(
    place: Place, accepted: list[Accepted], expected: Contents, *, cancelled: frozenset[str] = frozenset()
) -> None:
    """What must be true after every fault.

    Args:
        cancelled: names of files whose end was asked for: they are cancelled, or were faster.
    """
    found = {
        id: state
        for id, state in place.ask(
            "SELECT id, state FROM jobs WHERE id = ANY(%s)", [one.job for one in accepted]
        )
    }
    gone = {one.file.filename for one in accepted if found[one.job] == "cancelled"}
    assert gone <= cancelled
    right = {one.file.filename: "cancelled" if one.file.filename in gone else one.state for one in accepted}
    wrong = [one for one in accepted if found[one.job] != right[one.file.filename]]
    assert wrong == [], place.ask(
        "SELECT subject, state, attempt, error_code, error FROM jobs WHERE id = ANY(%s)",
        [one.job for one in wrong],
    )
    same(
        contents(place, accepted),
        {where: vector for where, vector in expected.items() if where[0] not in gone},
    )
    for one in accepted:
        _check_job(place, one, found[one.job])
    assert leaseless(place) == []


def _check_job(place: Place, one: Accepted, state: str) -> None:
    key = (one.store.organisation, one.job)
    ((attempt, last_attempt, result),) = place.ask(
        "SELECT attempt, last_attempt, result FROM jobs WHERE organisation = %s AND id = %s", *key
    )
    tried = place.ask(
        "SELECT attempt, outcome, ended_at >= started_at FROM job_attempts WHERE organisation = %s AND job = %s ORDER BY attempt",
        *key,
    )
    begun = [(number, outcome) for number, outcome, _ in tried]
    if state != "cancelled" or len(begun) == attempt:  # one that waits is cancelled without a try
        assert [number for number, _ in begun] == list(range(1, attempt + 1)), tried
        assert begun[-1][1] == state
    assert {outcome for _, outcome in begun[: attempt - 1]} <= {"lost", "retried"}
    assert all(ended for *_, ended in tried)
    assert attempt <= last_attempt
    said = [number for (number,) in place.ask(
        "SELECT (data ->> 'attempt')::int FROM job_events WHERE organisation = %s AND job = %s ORDER BY id", *key
    )]  # fmt: skip
    assert said == sorted(said), "a try wrote after the next one had begun"
    used = place.ask("SELECT quantity FROM usage_events WHERE organisation = %s AND job = %s", *key)
    tokens = result["tokens_embedded"] if state == "succeeded" else 0
    assert used == ([(tokens,)] if tokens else [])
    status = {"succeeded": "completed"}.get(state, state)
    attached = place.ask(
        "SELECT status FROM vector_store_files WHERE organisation = %s AND vector_store = %s AND file = %s AND job = %s",
        one.store.organisation, one.store.id, one.file.id, one.job,
    )  # fmt: skip
    assert attached == [(status,)]


def leaseless(place: Place) -> list[tuple[Any, ...]]:
    """Jobs that run, though nobody who lives has them."""
    return place.ask(
        """
        SELECT jobs.id, jobs.worker FROM jobs
        LEFT JOIN procrastinate_jobs AS entries ON entries.id = jobs.entry
        LEFT JOIN procrastinate_workers AS workers ON workers.id = entries.worker_id
        WHERE jobs.state = 'running' AND (entries.status IS DISTINCT FROM 'doing'
            OR coalesce(workers.last_heartbeat, '-infinity') < now() - make_interval(secs => %s))
        """,
        place.settings.lease_s,
    )


def running(place: Place, accepted: list[Accepted]) -> dict[str, tuple[str, int]]:
    """Of the jobs at work now: who is at it, and which try it is."""
    rows = place.ask(
        "SELECT id, worker, attempt FROM jobs WHERE state = 'running' AND id = ANY(%s)",
        [one.job for one in accepted],
    )
    return {id: (worker, attempt) for id, worker, attempt in rows}


@cache
def _engine(settings: Settings) -> Engine:
    return open_engine(settings)


def _pdf(chance: random.Random, *, pages: int) -> bytes:
    with pymupdf.open() as document:
        for _ in range(pages):
            document.new_page().insert_text((72, 72), _sentence(chance))
        made: bytes = document.tobytes()
        return made


def _sentence(chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=9)).capitalize() + f" {chance.randrange(10_000)}."
