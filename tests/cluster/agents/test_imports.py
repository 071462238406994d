"""A cancelled import changes no agent, and upkeep deletes what it had stored."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.agents import AgentDefinition, load_agent, save_agent
from cluster.agents.contents import Contents
from cluster.agents.files.agent_rows import AgentRows, Located
from cluster.agents.files.reading import check
from cluster.agents.imports import end_abandoned_imports, open_rows, plan_rows, submit_import
from cluster.agents.knowledge import NewStores, attach
from cluster.agents.preparing import prepare
from cluster.blobs import BlobStore, open_blob_store
from cluster.engines.contract import Fingerprint
from cluster.errors import NotFound
from cluster.jobs import queue
from cluster.jobs.jobs import Job
from cluster.organisations.organisations import StorageLimits
from cluster.settings import Settings
from cluster.vector_index import PGVECTOR

#: No worker takes a job before this time.
LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def blobs(settings: Settings) -> BlobStore:
    return open_blob_store(settings)


def planned(
    pool: ConnectionPool, blobs: BlobStore, owner: str, fingerprint: Fingerprint, *agents: dict[str, Any]
) -> Job:
    """Submit an import whose files are attached, and return its job, which does not begin."""
    checked = check(AgentRows(agents=[Located(value=agent) for agent in agents]))
    contents = Contents(blobs, owner, open_file=None, max_bytes=1_000)
    with pool.connection() as connection, connection.transaction():
        job = submit_import(
            connection,
            blobs,
            owner,
            prepare(checked, contents),
            mode="atomic",
            default_limits=StorageLimits(),
            run_at=LATER,
        )
        plan_rows(connection, job, new=NewStores(fingerprint=fingerprint, index=PGVECTOR))
        places = [row.knowledge or {} for row in open_rows(connection, job)]
        attach(connection, owner, places, before=job.created_at, run_at=LATER)
    return job


def count(connection: Connection[Any], owner: str) -> dict[str, int]:
    tables = {"agent_sources": "", "files": "", "vector_stores": "AND deleted_at IS NULL"}
    statements = {
        name: f"SELECT count(*) FROM {name} WHERE organisation = %s {live}" for name, live in tables.items()
    }
    found = {name: connection.execute(sql, [owner]).fetchone() for name, sql in statements.items()}  # type: ignore[arg-type]
    return {name: row[0] for name, row in found.items() if row is not None}


def test_upkeep_deletes_what_a_cancelled_import_stored(
    pool: ConnectionPool,
    connection: Connection[Any],
    blobs: BlobStore,
    organisation: str,
    fingerprint: Fingerprint,
) -> None:
    save_agent(connection, organisation, AgentDefinition(external_id="old", name="Old"), knowledge={})
    agents = [{"external_id": name, "knowledge": [{"text": f"of {organisation}"}]} for name in ("old", "new")]
    job = planned(pool, blobs, organisation, fingerprint, *agents)
    end_abandoned_imports(connection)
    assert count(connection, organisation) == {"agent_sources": 1, "files": 1, "vector_stores": 1}
    queue.cancel(connection, organisation, job.id)
    assert organisation in {owner for owner, _ in end_abandoned_imports(connection)}
    assert count(connection, organisation) == {"agent_sources": 0, "files": 0, "vector_stores": 0}
    assert load_agent(connection, organisation, "old").definition.name == "Old"
    with pytest.raises(NotFound):
        load_agent(connection, organisation, "new")
    assert open_rows(connection, job) == []


def test_a_cancelled_import_takes_nothing_from_one_that_is_open(
    pool: ConnectionPool,
    connection: Connection[Any],
    blobs: BlobStore,
    organisation: str,
    fingerprint: Fingerprint,
) -> None:
    shared = {"knowledge": [{"text": f"of {organisation}"}]}
    first = planned(pool, blobs, organisation, fingerprint, {"external_id": "a", **shared})
    second = planned(pool, blobs, organisation, fingerprint, {"external_id": "b", **shared})
    queue.cancel(connection, organisation, first.id)
    end_abandoned_imports(connection)
    assert count(connection, organisation) == {"agent_sources": 1, "files": 1, "vector_stores": 1}
    queue.cancel(connection, organisation, second.id)
    end_abandoned_imports(connection)
    assert count(connection, organisation) == {"agent_sources": 0, "files": 0, "vector_stores": 0}
