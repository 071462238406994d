"""A vector index in files under a folder, which stands for an index outside our Postgres: no transaction,
visible late, failing.

Each call writes one file, and searches replay the files that are old enough. ``Behaviour`` is read from a
file before each call, so that a test can change how the index of another process behaves:

    settings = settings.model_copy(update={"vector_index": NAME})
    behave(settings, delay_s=0.5, failing_writes=1)
"""

import json
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from psycopg_pool import ConnectionPool

from cluster.errors import Unavailable
from cluster.settings import Settings
from cluster.vector_index import Capabilities, Collection, Mode, ScoredId, VectorRecord, Written
from cluster.vector_index.filters import Filter, matches
from tests.waiting import LONGEST_WAIT_S

NAME = "tests.folder_index:open_folder_index"


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How the index behaves."""

    #: Seconds until a write is visible.
    delay_s: float = 0.0
    #: Number of next writes that fail before they are applied.
    failing_writes: int = 0
    #: Number of next writes that are applied and whose answer is lost.
    lost_answers: int = 0
    #: ``upsert`` or ``delete``: the next process that calls it is killed, after the upsert or before the
    #: delete.
    killed_at: str = ""
    #: Records whose id ends in this are refused; the answer lists them as failed.
    refused_ending: str = ""


def root_of(settings: Settings) -> Path:
    """The folder of the index."""
    return settings.home / "folder-index"


def behave(settings: Settings, **how: Any) -> None:
    """Set the behaviour of the index in every process, from the next call on."""
    _write(root_of(settings) / "behaviour.json", json.dumps(asdict(Behaviour(**how))).encode())


def at_rest(settings: Settings) -> bool:
    """True once everything that ``behave`` asked for has happened."""
    return FolderIndex(root_of(settings))._behaviour() == Behaviour()


def open_folder_index(settings: Settings, pool: ConnectionPool) -> "FolderIndex":
    """The factory that ``CLUSTER_VECTOR_INDEX`` names."""
    del pool
    return FolderIndex(root_of(settings))


class FolderIndex:
    """An ``ExternalIndex``; see the docstring of the module."""

    capabilities = Capabilities(transactional=False)

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        #: By folder of a store: the files replayed so far, and what they left.
        self._replayed: dict[Path, tuple[list[str], dict[str, VectorRecord]]] = {}

    def ensure(self, collection: Collection) -> None:
        (self._root / collection.name).mkdir(parents=True, exist_ok=True)

    def upsert(
        self, organisation: str, store: str, records: Sequence[VectorRecord], *, collection: Collection
    ) -> Written:
        ending = self._behaviour().refused_ending
        refused = {record.id: "over quota" for record in records if ending and record.id.endswith(ending)}
        kept = {record.id: record for record in records if record.id not in refused}
        self._append(organisation, store, collection, ("upsert", kept))
        self._maybe_die("upsert")
        return Written(written=len(kept), failed=refused)

    def set_attributes(
        self,
        organisation: str,
        store: str,
        attributes: Mapping[str, Mapping[str, Any]],
        *,
        collection: Collection,
    ) -> Written:
        self._append(organisation, store, collection, ("attributes", dict(attributes)))
        return Written(written=len(attributes))

    def delete(self, organisation: str, store: str, ids: Sequence[str], *, collection: Collection) -> None:
        self._maybe_die("delete")
        self._append(organisation, store, collection, ("delete", list(ids)))

    def delete_store(self, organisation: str, store: str, *, collection: Collection) -> None:
        self._append(organisation, store, collection, ("delete_store", None))

    def search(
        self,
        organisation: str,
        store: str,
        *,
        collection: Collection,
        vector: NDArray[np.float32],
        k: int,
        filter: Filter | None = None,
        mode: Mode = "ann",
    ) -> list[ScoredId]:
        records = [
            record
            for record in self._visible(organisation, store, collection).values()
            if filter is None or matches(filter, record.attributes)
        ]
        if not records:
            return []
        matrix = np.stack([record.vector for record in records]).astype(np.float64)
        scores = _scores(matrix, vector.astype(np.float64), collection)
        best = sorted(zip(-scores, (record.id for record in records), strict=True))[:k]
        return [ScoredId(id=id, score=-float(score)) for score, id in best]

    def fetch(
        self, organisation: str, store: str, ids: Sequence[str], *, collection: Collection
    ) -> dict[str, NDArray[np.float32]]:
        records = self._visible(organisation, store, collection)
        return {id: records[id].vector for id in ids if id in records}

    def ids(self, organisation: str, store: str, *, collection: Collection) -> Iterator[list[str]]:
        yield sorted(self._visible(organisation, store, collection))

    def count(self, organisation: str, store: str, *, collection: Collection) -> int:
        return len(self._visible(organisation, store, collection))

    def wait_visible(
        self,
        organisation: str,
        store: str,
        ids: Sequence[str],
        *,
        collection: Collection,
        timeout_s: float = LONGEST_WAIT_S,
    ) -> None:
        deadline = time.monotonic() + timeout_s
        while not set(ids) <= self._visible(organisation, store, collection).keys():
            if time.monotonic() > deadline:
                raise Unavailable("the vectors are not visible yet")
            time.sleep(0.01)

    def optimise(self, collection: Collection) -> None:
        """Nothing to do: every search compares all vectors."""

    def _append(self, organisation: str, store: str, collection: Collection, change: Any) -> None:
        with self._lock:
            behaviour = self._behaviour()
            if behaviour.failing_writes:
                self._behave(replace(behaviour, failing_writes=behaviour.failing_writes - 1))
                raise Unavailable("the folder fails because the test tells it to", retry_after_s=0.01)
            folder = self._folder(organisation, store, collection)
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / f"{time.time_ns():020}-{os.getpid()}-{uuid4().hex[:6]}", pickle.dumps(change))
            if behaviour.lost_answers:
                self._behave(replace(behaviour, lost_answers=behaviour.lost_answers - 1))
                raise Unavailable(
                    "the folder's answer was lost because the test tells it to", retry_after_s=0.01
                )

    def _maybe_die(self, at: str) -> None:
        behaviour = self._behaviour()
        if behaviour.killed_at == at:
            self._behave(replace(behaviour, killed_at=""))
            os.kill(os.getpid(), signal.SIGKILL)

    def _visible(self, organisation: str, store: str, collection: Collection) -> dict[str, VectorRecord]:
        folder = self._folder(organisation, store, collection)
        until = time.time_ns() - int(self._behaviour().delay_s * 1e9)
        with self._lock:
            names = sorted(name for name in _names(folder) if int(name[:20]) <= until)
            done, records = self._replayed.get(folder, ([], {}))
            if names[: len(done)] != done:
                done, records = [], {}
            for name in names[len(done) :]:
                _apply(pickle.loads((folder / name).read_bytes()), records)
            self._replayed[folder] = names, records
            return dict(records)

    def _folder(self, organisation: str, store: str, collection: Collection) -> Path:
        return self._root / collection.name / organisation / store

    def _behaviour(self) -> Behaviour:
        try:
            return Behaviour(**json.loads((self._root / "behaviour.json").read_text()))
        except FileNotFoundError:
            return Behaviour()

    def _behave(self, behaviour: Behaviour) -> None:
        _write(self._root / "behaviour.json", json.dumps(asdict(behaviour)).encode())


def _apply(change: tuple[str, Any], records: dict[str, VectorRecord]) -> None:
    kind, what = change
    if kind == "upsert":
        records.update(what)
    elif kind == "attributes":
        records.update({id: replace(records[id], attributes=of) for id, of in what.items() if id in records})
    elif kind == "delete":
        for id in what:
            records.pop(id, None)
    else:
        records.clear()


def _scores(
    matrix: NDArray[np.float64], query: NDArray[np.float64], collection: Collection
) -> NDArray[np.float64]:
    if collection.metric == "euclidean":
        return -np.linalg.norm(matrix - query, axis=1)
    scores: NDArray[np.float64] = matrix @ query
    if collection.metric == "cosine":
        scores = scores / np.linalg.norm(matrix, axis=1) / np.linalg.norm(query)
    return scores


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("*") if path.name[:1] != "."] if folder.is_dir() else []


def _write(path: Path, data: bytes) -> None:
    """Write the file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}-{uuid4().hex[:6]}")
    unfinished.write_bytes(data)
    unfinished.rename(path)
