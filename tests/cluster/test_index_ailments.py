"""The doctor compares stores with their external index, and mends what differs."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.doctor import index_comparison
from cluster.doctor.ailment import Ailment, Case, Patient
from cluster.doctor.examination import examine
from cluster.doctor.index_ailments import MISSING, ORPHANS
from cluster.doctor.index_parts import indexes as check_indexes
from cluster.doctor.setting_ailments import INDEXES, MODELS
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores import stores
from cluster.documents.vector_stores.stores import NewStore, VectorStore
from cluster.engines.contract import Fingerprint
from cluster.errors import Conflict
from cluster.settings import Settings
from cluster.vector_index.collections import Collection
from cluster.vector_index.contract import VectorRecord
from tests import folder_index


@pytest.fixture
def folder(settings: Settings) -> Iterator[Settings]:
    folder_index.behave(settings)
    yield settings.model_copy(update={"vector_index": folder_index.NAME})
    folder_index.behave(settings)


@pytest.fixture
def patient(folder: Settings, pool: ConnectionPool) -> Patient:
    return Patient(settings=folder, pool=pool)


@pytest.fixture
def store(connection: Connection[Any], organisation: str, fingerprint: Fingerprint) -> VectorStore:
    new = NewStore(name="elsewhere", index=folder_index.NAME)
    return stores.create_store(connection, organisation, new, fingerprint=fingerprint)


@pytest.fixture
def index(patient: Patient, store: VectorStore) -> ChunkIndex:
    index = ChunkIndexes(patient.settings, patient.pool).of(store)
    index.ensure(store.collection, dim=3)
    return index


def write(index: ChunkIndex, store: VectorStore, *ids: str) -> None:
    vector = np.array([1, 2, 3], np.float32)
    rows = [ChunkRecord(id=id, document="doc", text=id, attributes={}, vector=vector) for id in ids]
    index.replace_document(store.organisation, store.id, "doc", rows, collection=store.collection)


def outside(index: ChunkIndex, store: VectorStore) -> tuple[Any, tuple[str, str], dict[str, Collection]]:
    """The index outside, and what its calls need."""
    collection = Collection(name=store.collection, dim=3, metric="cosine")
    return index.external, (store.organisation, store.id), {"collection": collection}


def cases(ailment: Ailment, patient: Patient, store: VectorStore) -> list[Case]:
    return [case for case in ailment.find(patient) if case.organisation == store.organisation]


def test_a_store_that_equals_its_index_is_well(
    patient: Patient, index: ChunkIndex, store: VectorStore
) -> None:
    write(index, store, *(f"chk_{n}" for n in range(300)))
    assert (cases(ORPHANS, patient, store), cases(MISSING, patient, store)) == ([], [])
    assert check_indexes(patient.settings, patient.pool).fine


def test_vectors_without_a_chunk_are_found_by_count_and_deleted(
    patient: Patient, index: ChunkIndex, store: VectorStore
) -> None:
    write(index, store, "a", "b")
    external, key, options = outside(index, store)
    vector = np.array([1, 2, 3], np.float32)
    external.upsert(
        *key, [VectorRecord(id=f"x{n}", attributes={}, vector=vector) for n in range(3)], **options
    )
    found = cases(ORPHANS, patient, store)
    assert (found, cases(MISSING, patient, store)) == ([Case(organisation=key[0], id=key[1])], [])
    ORPHANS.mend(patient, found)
    assert cases(ORPHANS, patient, store) == []
    assert [id for page in external.ids(*key, **options) for id in page] == ["a", "b"]


def test_vectors_that_a_writer_or_the_outbox_still_holds_are_no_orphans(
    patient: Patient, index: ChunkIndex, store: VectorStore
) -> None:
    write(index, store, "a")
    row = ChunkRecord(id="b", document="doc", text="b", attributes={}, vector=np.array([1, 2, 3], np.float32))
    assert index.write_ahead(store.organisation, store.id, [row], collection=store.collection)
    assert cases(ORPHANS, patient, store) == []


@pytest.mark.parametrize("also_orphan", [False, True])
def test_chunks_without_a_vector_are_found_and_embedded_again(
    patient: Patient,
    index: ChunkIndex,
    store: VectorStore,
    monkeypatch: pytest.MonkeyPatch,
    also_orphan: bool,
) -> None:
    """With an orphan beside it, the counts are equal, and the sample finds it."""
    write(index, store, "a", "b", "c")
    external, key, options = outside(index, store)
    external.delete(*key, ["b"], **options)
    if also_orphan:
        record = VectorRecord(id="x", attributes={}, vector=np.array([1, 2, 3], np.float32))
        external.upsert(*key, [record], **options)
    monkeypatch.setattr(index_comparison, "IDS_PER_QUERY", 2)
    found = cases(MISSING, patient, store)
    assert [case.id for case in found] == [store.id]
    MISSING.mend(patient, found)
    assert cases(MISSING, patient, store) == []
    stored = index.stored_ids(*key, "doc", collection=store.collection)
    assert stored == {"a", "c"}, "the next job embeds the chunk again, because it is not stored"


def test_vectors_that_callers_gave_have_to_be_sent_again(
    connection: Connection[Any], patient: Patient, organisation: str
) -> None:
    new = NewStore(name=f"given {uuid4()}", index=folder_index.NAME)
    store = stores.create_store(connection, organisation, new, fingerprint=Fingerprint.of_given(3))
    index = ChunkIndexes(patient.settings, patient.pool).of(store)
    index.ensure(store.collection, dim=3)
    write(index, store, "a", "b")
    external, key, options = outside(index, store)
    external.delete(*key, ["b"], **options)
    with pytest.raises(Conflict, match=f"gave the vectors of {store.id}: send these rows again"):
        MISSING.mend(patient, cases(MISSING, patient, store))
    assert index.count(*key, collection=store.collection) == 2


def test_stores_whose_model_or_index_is_not_configured_are_named_and_others_are_compared(
    patient: Patient, pool: ConnectionPool, index: ChunkIndex, store: VectorStore, settings: Settings
) -> None:
    write(index, store, "a")
    model, other_model = cases(MODELS, patient, store), cases(MODELS, renamed(patient, store), store)
    assert [case.label for case in model] == [
        f"{store.organisation}/{store.id} (model {store.fingerprint.id}, not in CLUSTER_MODELS)"
    ]
    assert "here another model has the name" in other_model[0].note
    assert cases(INDEXES, patient, store) == []
    without = Patient(settings=settings, pool=pool)
    (found,) = cases(INDEXES, without, store)
    assert found.label == f"{store.organisation}/{store.id} (index {folder_index.NAME})"
    assert check_indexes(settings, pool).fine
    # A store is compared even if its model is not configured. If its index is not configured, the store is
    # left out.
    external, key, options = outside(index, store)
    external.delete(*key, ["a"], **options)
    assert [case.id for case in cases(MISSING, patient, store)] == [store.id]
    assert cases(MISSING, without, store) == []
    names = {finding.name: finding for finding in examine(settings).findings}
    assert "CLUSTER_INDEXES" in names["stores_without_index"].remedy
    assert "CLUSTER_MODELS" in names["stores_without_model"].remedy
    assert MODELS.doubt(patient, model) in names["stores_without_model"].remedy


def renamed(patient: Patient, store: VectorStore) -> Patient:
    """The same cluster, whose default model has the name of the store's model."""
    settings = patient.settings.model_copy(update={"model": store.fingerprint.model})
    return Patient(settings=settings, pool=patient.pool)
