"""Finds and mends differences between vector stores and the external indexes that hold their vectors.

For each store on an external index, the doctor compares the counts and a sample of the ids. If these differ,
the doctor compares all ids. The doctor skips an index that does not answer; the part ``indexes`` of the
report names this index.
"""

from collections.abc import Iterator, Sequence

import structlog
from psycopg import sql

from cluster.database import translated
from cluster.doctor.ailment import SQL, Ailment, Case, Patient
from cluster.doctor.chunk_ailments import process_again
from cluster.doctor.index_comparison import IndexDifference, StoreInIndex, compare, documents_of, may_differ
from cluster.documents import outbox
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.documents import lock_document
from cluster.errors import ClusterError, Conflict
from cluster.vector_index.collections import is_of_given_vectors, look_up

log = structlog.get_logger(__name__)

#: Maximum seconds that a repair spends on deleting orphans. Workers delete the remaining orphans later.
SENDING_S = 120.0


def _places(patient: Patient) -> Iterator[StoreInIndex]:
    """Yield each store whose vectors are in an external index that can be opened."""
    indexes = ChunkIndexes(patient.settings, patient.pool)
    external = indexes.external_indexes()
    with translated(), patient.pool.connection() as connection:
        rows = connection.execute(SQL["stores_in_indexes"], {"indexes": list(external)}).fetchall()
        collections = {name: look_up(connection, name) for name in {row[3] for row in rows}}
    for organisation, store, index, name in rows:
        collection = collections[name]
        if collection is not None:
            yield StoreInIndex(
                organisation=organisation, store=store, index=external[index], collection=collection
            )


def _differences(patient: Patient) -> Iterator[tuple[StoreInIndex, IndexDifference]]:
    for place in _places(patient):
        try:
            if may_differ(patient.pool, place):
                yield place, compare(patient.pool, place)
        except ClusterError as exc:
            log.warning("store_not_compared", vector_store=place.store, reason=str(exc))


def _with_orphans(patient: Patient) -> list[Case]:
    return [_case(place) for place, difference in _differences(patient) if difference.orphans]


def _without_vectors(patient: Patient) -> list[Case]:
    return [_case(place) for place, difference in _differences(patient) if difference.missing]


def _case(place: StoreInIndex) -> Case:
    return Case(organisation=place.organisation, id=place.store)


def _delete_orphans(patient: Patient, cases: Sequence[Case]) -> None:
    for place in _of(patient, cases):
        orphans = compare(patient.pool, place).orphans
        with translated(), patient.pool.connection() as connection:
            outbox.add(connection, place.organisation, place.store, orphans)
        outbox.empty(
            patient.pool,
            lambda _, index=place.index: index,  # type: ignore[misc]
            limit_s=SENDING_S,
            organisation=place.organisation,
            store=place.store,
        )


def _write_again(patient: Patient, cases: Sequence[Case]) -> None:
    """Delete the chunks that have no vectors. Then process the documents of these chunks again, which embeds
    the chunks.

    Raises:
        Conflict: callers gave some of the vectors, so the cluster cannot compute these vectors again.
    """
    given = []
    for place in _of(patient, cases):
        if is_of_given_vectors(place.collection.name):
            given.append(place.store)
            continue
        missing = compare(patient.pool, place).missing
        for document, ids in documents_of(patient.pool, place, missing).items():
            _delete_chunks(patient, place, document, ids)
            facts = (place.store, place.collection.name)
            process_again(patient, [Case(organisation=place.organisation, id=document, facts=facts)])
    if given:
        raise Conflict(
            f"callers gave the vectors of {', '.join(given)}: send these rows again with "
            "POST /v1/vector_stores/ID/vectors or the job bulk_insert_vectors"
        )


def _delete_chunks(patient: Patient, place: StoreInIndex, document: str, ids: Sequence[str]) -> None:
    statement = sql.SQL(SQL["delete_chunks"]).format(table=sql.Identifier(place.collection.table))
    values = {"organisation": place.organisation, "store": place.store, "document": document, "ids": ids}
    with translated(), patient.pool.connection() as connection:
        lock_document(connection, place.organisation, document)
        connection.execute(statement, values)


def _of(patient: Patient, cases: Sequence[Case]) -> Iterator[StoreInIndex]:
    wanted = {(case.organisation, case.id) for case in cases}
    return (place for place in _places(patient) if place.key in wanted)


ORPHANS = Ailment(
    name="vectors_without_chunk",
    says="vector stores have vectors in their external index that belong to no chunk; no search returns them",
    remedy="deletes these vectors",
    find=_with_orphans,
    mend=_delete_orphans,
)
MISSING = Ailment(
    name="chunks_without_vector",
    says="vector stores have chunks whose vectors are missing in their external index; searches by meaning "
    "miss them",
    remedy="queues new jobs for attached files; for ingested documents, run their ingest again afterwards; "
    "vectors that callers gave have to be sent again",
    find=_without_vectors,
    mend=_write_again,
)
