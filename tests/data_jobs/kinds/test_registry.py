"""Every kind of job that workers do has a function, and every function has its kind."""

from cluster.jobs.kinds import COPY_STORE, EXPORT_STORE, IMPORT_STORE, INGEST, KINDS
from data_jobs.kinds.registry import FUNCTIONS


def test_a_worker_has_a_function_for_every_kind_but_those_of_commands() -> None:
    commands = {kind.name for kind in (INGEST, COPY_STORE, EXPORT_STORE, IMPORT_STORE)}
    assert set(FUNCTIONS) == set(KINDS) - commands
