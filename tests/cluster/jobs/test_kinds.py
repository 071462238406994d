"""A kind of job is a row of one table: no SQL names one, and its row decides what people may do with its
jobs.
"""

from importlib.resources import files

import pytest
from psycopg import Connection

from cluster.errors import Conflict
from cluster.jobs import queue
from cluster.jobs.jobs import PriorityClass
from cluster.jobs.kinds import INGEST, KINDS, kind_named
from cluster.jobs.kinds.inputs import JobInput
from cluster.jobs.kinds.job_kind import JobKind

STATEMENTS = [
    file
    for folder in files("cluster").iterdir()
    if folder.is_dir()
    for file in folder.iterdir()
    if file.name.endswith(".sql")
]


def test_no_statement_names_a_kind_of_job() -> None:
    assert len(STATEMENTS) > 10
    for file in STATEMENTS:
        named = [kind for kind in KINDS if f"'{kind}'" in file.read_text(encoding="utf-8")]
        assert not named, f"{file.name} names {named}; pass the kind as a parameter"


def test_a_job_has_the_defaults_of_its_kind(connection: Connection, organisation: str) -> None:
    kind = JobKind(
        name="test", priority_class=PriorityClass.LOW, attempts=7, unit="pages", total=12, result=("pages",)
    )
    job = queue.submit(connection, organisation, kind, {})
    assert (job.priority_class, job.last_attempt, job.unit, job.total) == (PriorityClass.LOW, 7, "pages", 12)
    urgent = queue.submit(connection, organisation, kind, {}, priority_class=PriorityClass.HIGH, attempts=1)
    assert (urgent.priority_class, urgent.last_attempt) == (PriorityClass.HIGH, 1)


def test_a_job_whose_kind_is_not_retryable_is_not_queued_again(
    connection: Connection, organisation: str
) -> None:
    job = queue.submit(connection, organisation, INGEST, {})
    queue.cancel(connection, organisation, job.id)
    with pytest.raises(Conflict, match="run the command again"):
        queue.replay(connection, organisation, job.id)


def test_a_kind_of_another_release_has_every_default() -> None:
    assert kind_named("of_the_next_release") == JobKind(name="of_the_next_release")


def test_every_field_of_a_public_input_is_described_and_names_are_unique() -> None:
    public = [kind for kind in KINDS.values() if kind.input is not None]
    assert public
    for kind in public:
        assert kind.input is not None
        assert issubclass(kind.input, JobInput)
        assert kind.input.__doc__, kind.name
        fields = kind.input.model_json_schema()["properties"]
        assert all(field.get("description") for field in fields.values()), kind.name
    names = [name for kind in public for name in (kind.name, *kind.aliases)]
    assert len(names) == len({*names})
