"""Finds vector stores whose model or index is not in the settings of this node. Only an operator can repair
this.
"""

from collections.abc import Sequence

from cluster.database import translated
from cluster.doctor.ailment import SQL, Ailment, Case, Patient
from cluster.engines import Fingerprint, Registry
from cluster.errors import Conflict, Misconfigured

NAMED_MODEL = "add the named models to CLUSTER_MODELS as they were, or delete the stores"
NAMED_INDEX = "add the named indexes to CLUSTER_INDEXES, or delete the stores"


def _without_model(patient: Patient) -> list[Case]:
    try:
        registry = Registry(patient.settings)
    except Misconfigured:
        return []  # the part ``engine`` of the report says what is wrong
    with translated(), patient.pool.connection() as connection:
        rows = connection.execute(SQL["fingerprints_of_stores"]).fetchall()
    found = []
    for fields, stores in rows:
        if note := _trouble(registry, Fingerprint(**fields)):
            found += [Case(organisation=store["organisation"], id=store["id"], note=note) for store in stores]
    return found


def _trouble(registry: Registry, fingerprint: Fingerprint) -> str:
    """Return why this node cannot use the model of these vectors; empty if this node can use the model."""
    if fingerprint.given:
        return ""
    try:
        registry.of(fingerprint)
    except Conflict:
        here = registry.entries.get(fingerprint.model)
        missing = "not in CLUSTER_MODELS" if here is None else f"here another model has the name {here.name}"
        return f"model {fingerprint.id}, {missing}"
    except Misconfigured as exc:
        return f"model {fingerprint.model}: {exc}"
    return ""


def _without_index(patient: Patient) -> list[Case]:
    names = list(patient.settings.index_sources)
    with translated(), patient.pool.connection() as connection:
        rows = connection.execute(SQL["stores_in_other_indexes"], {"indexes": names}).fetchall()
    return [
        Case(organisation=organisation, id=store, note=f"index {index}")
        for organisation, store, index in rows
    ]


def _leave(_: Patient, __: Sequence[Case]) -> None:
    """Change nothing, because the stores are complete. Only a name is missing in the settings."""


MODELS = Ailment(
    name="stores_without_model",
    says="vector stores have a model that is not configured here; nothing can be added to them, and no text "
    "can be searched in them",
    remedy=f"changes nothing; {NAMED_MODEL}",
    find=_without_model,
    mend=_leave,
    doubt=lambda _, __: NAMED_MODEL,
)
INDEXES = Ailment(
    name="stores_without_index",
    says="vector stores have their vectors in an index that is not configured here; they cannot be searched "
    "or compared",
    remedy=f"changes nothing; {NAMED_INDEX}",
    find=_without_index,
    mend=_leave,
    doubt=lambda _, __: NAMED_INDEX,
)
