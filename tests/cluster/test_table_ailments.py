"""The doctor finds chunk tables that lack triggers or an approximate index, and adds them."""

from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.doctor.ailment import Ailment, Patient
from cluster.doctor.table_ailments import MISCOUNTED, UNCOUNTED, UNPROTECTED, WITHOUT_INDEX
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.vector_stores import stores
from cluster.documents.vector_stores.store_versions import find_versioned_store
from cluster.documents.vector_stores.stores import NewStore, VectorStore
from cluster.engines.contract import Fingerprint
from cluster.jobs import queue
from cluster.jobs.kinds import BULK_INSERT_VECTORS
from cluster.organisations.rows import change_organisation
from cluster.settings import Settings
from cluster.vector_index.pgvector.index import PgvectorIndex

DIM, ROWS = 7, 30


@pytest.fixture
def patient(settings: Settings, pool: ConnectionPool) -> Patient:
    return Patient(settings=settings, pool=pool)


@pytest.fixture
def store(patient: Patient, connection: Connection[Any], organisation: str) -> VectorStore:
    """Return a store with a few chunks."""
    store = stores.create_store(
        connection, organisation, NewStore(name="loaded"), fingerprint=Fingerprint.of_given(DIM)
    )
    connection.commit()
    write(patient, store, ROWS)
    return store


def write(patient: Patient, store: VectorStore, count: int) -> None:
    index = ChunkIndexes(patient.settings, patient.pool).of(store)
    index.ensure(store.collection, dim=DIM)
    rows = [
        ChunkRecord(id=f"{n}", document=f"{n}", text="", attributes={}, vector=vector)
        for n, vector in enumerate(np.random.default_rng(0).normal(size=(count, DIM)).astype(np.float32))
    ]
    index.upsert(store.organisation, store.id, rows, collection=store.collection)


def is_found(ailment: Ailment, patient: Patient, store: VectorStore) -> bool:
    return (store.organisation, store.id) in [(case.organisation, case.id) for case in ailment.find(patient)]


def test_changes_of_a_table_that_the_previous_release_made_are_counted(
    patient: Patient, connection: Connection[Any], store: VectorStore
) -> None:
    def changes() -> int:
        return find_versioned_store(connection, store.organisation, store.id).version.changes

    assert not is_found(UNCOUNTED, patient, store)
    for trigger in ("inserted", "updated", "deleted"):
        connection.execute(f"DROP TRIGGER chunks_{trigger} ON vectors_{store.collection}")
    connection.commit()
    before = changes()
    write(patient, store, ROWS + 1)
    assert changes() == before
    connection.commit()
    assert is_found(UNCOUNTED, patient, store)
    UNCOUNTED.mend(patient, UNCOUNTED.find(patient))
    assert changes() == before + 1
    write(patient, store, ROWS + 2)
    assert changes() == before + 2
    assert not is_found(UNCOUNTED, patient, store)


def test_an_approximate_index_that_a_load_left_missing_is_built(
    patient: Patient,
    connection: Connection[Any],
    store: VectorStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(PgvectorIndex.__init__.__kwdefaults__, "index_from", ROWS)
    connection.execute(f"ANALYZE vectors_{store.collection}")
    job = queue.submit(connection, store.organisation, BULK_INSERT_VECTORS, {}, subject=store.id)
    elsewhere = queue.submit(connection, store.organisation, BULK_INSERT_VECTORS, {}, subject="vs_other")
    connection.execute("UPDATE jobs SET state = 'running' WHERE id = ANY(%s)", [[job.id, elsewhere.id]])
    connection.commit()
    assert not is_found(WITHOUT_INDEX, patient, store)  # the load builds the index at its end
    connection.execute("UPDATE jobs SET state = 'cancelled' WHERE id = %s", [job.id])
    connection.commit()
    assert is_found(WITHOUT_INDEX, patient, store)
    WITHOUT_INDEX.mend(patient, WITHOUT_INDEX.find(patient))
    assert not is_found(WITHOUT_INDEX, patient, store)


def test_a_wrong_count_of_vectors_is_counted_again(
    patient: Patient, connection: Connection[Any], store: VectorStore
) -> None:
    owner = store.organisation

    def found() -> list[str]:
        return [case.label for case in MISCOUNTED.find(patient) if case.organisation == owner]

    change_organisation(connection, owner, {"vectors_limit": ROWS + 5})
    connection.commit()
    write(patient, store, ROWS + 2)
    assert found() == []
    connection.execute("UPDATE vector_quotas SET vectors = 1 WHERE organisation = %s", [owner])
    connection.commit()
    assert found() == [f"{owner}/{owner}"]
    MISCOUNTED.mend(patient, [case for case in MISCOUNTED.find(patient) if case.organisation == owner])
    assert found() == []
    quota = "SELECT vectors_limit, vectors FROM vector_quotas WHERE organisation = %s"
    assert connection.execute(quota, [owner]).fetchone() == (ROWS + 5, ROWS + 2)


def test_a_table_without_row_level_security_is_found_and_gets_its_policies(
    patient: Patient, connection: Connection[Any]
) -> None:
    def found() -> list[str]:
        return [case.id for case in UNPROTECTED.find(patient)]

    name = f"made_by_hand_{uuid4().hex[:8]}"
    connection.execute(f"CREATE TABLE {name} (organisation text NOT NULL)")
    try:
        assert name in found()
        UNPROTECTED.mend(patient, UNPROTECTED.find(patient))
        assert name not in found()
    finally:
        connection.execute(f"DROP TABLE {name}")
