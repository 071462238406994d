"""Finds and mends chunk tables without the triggers that count changes, or without an approximate index, and
wrong counts of stored vectors.
"""

from collections.abc import Sequence

from cluster.database import as_owner, row_security, translated
from cluster.doctor.ailment import SQL, Ailment, Case, Patient
from cluster.documents.chunks.change_counters import count_changes, uncounted_collections
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.chunks.missing_indexes import build_missing, collections_without_index
from cluster.documents.chunks.vector_quotas import miscounted, recount


def _uncounted(patient: Patient) -> list[Case]:
    with translated(), patient.pool.connection() as connection:
        names = uncounted_collections(connection)
    return _stores_of(patient, names)


def _without_index(patient: Patient) -> list[Case]:
    indexes = ChunkIndexes(patient.settings, patient.pool)
    return _stores_of(patient, collections_without_index(patient.pool, indexes))


def _miscounted(patient: Patient) -> list[Case]:
    with translated():
        return [
            Case(organisation=organisation, id=key or organisation, facts=(key,))
            for organisation, key in miscounted(patient.pool)
        ]


def _recount(patient: Patient, cases: Sequence[Case]) -> None:
    for case in cases:
        with translated(), patient.pool.connection() as connection:
            recount(connection, case.organisation, case.facts[0])


def _stores_of(patient: Patient, collections: Sequence[str]) -> list[Case]:
    with translated(), patient.pool.connection() as connection:
        rows = connection.execute(SQL["stores_of_collections"], {"collections": list(collections)})
        return [Case(organisation=organisation, id=store) for organisation, store in rows]


def _unprotected(patient: Patient) -> list[Case]:
    with translated(), patient.pool.connection() as connection:
        return [Case(organisation="all", id=table) for table in row_security.without_policies(connection)]


def _protect(patient: Patient, cases: Sequence[Case]) -> None:
    del cases
    with as_owner(), translated(), patient.pool.connection() as connection:
        row_security.complete(connection)


def _count(patient: Patient, cases: Sequence[Case]) -> None:
    del cases
    count_changes(patient.pool)


def _build(patient: Patient, cases: Sequence[Case]) -> None:
    del cases
    build_missing(patient.pool, ChunkIndexes(patient.settings, patient.pool))


UNCOUNTED = Ailment(
    name="stores_with_uncounted_changes",
    says="vector stores are in tables of the previous release, whose changes are not counted; their searches "
    "can return outdated cached results",
    remedy="counts the changes from now on; workers do so too, every ten minutes",
    find=_uncounted,
    mend=_count,
)
UNPROTECTED = Ailment(
    name="tables_without_row_level_security",
    says="tables with rows of organisations have no row-level security, so only the conditions of the "
    "queries keep organisations apart; the log-in of CLUSTER_DATABASE_URL may lack a privilege "
    "(docs/security.md, Row-level security)",
    remedy="adds what the log-in may add; an administrator of the database has to do the rest",
    find=_unprotected,
    mend=_protect,
)
WITHOUT_INDEX = Ailment(
    name="stores_without_approximate_index",
    says="vector stores have lost their approximate index, because a bulk load was interrupted; their "
    "searches are slow",
    remedy="builds the index while searches and writes go on; workers do so too, every ten minutes",
    find=_without_index,
    mend=_build,
)
MISCOUNTED = Ailment(
    name="wrong_counts_of_vectors",
    says="organisations or API keys with a vectors_limit have a wrong count of stored vectors; vectors are "
    "refused too early or too late",
    remedy="counts the stored vectors again; writers of vectors wait in the meantime",
    find=_miscounted,
    mend=_recount,
)
