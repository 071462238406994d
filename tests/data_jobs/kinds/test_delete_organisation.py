"""A deleted organisation is refused at once, and of everything that it owned, only the rows that bills need
are left.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from psycopg import Connection, errors
from psycopg_pool import ConnectionPool

from cluster.blobs import BlobStore, open_blob_store
from cluster.budgets.budgets import NewBudget, Period, Unit, create_budget
from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.indexing import ChunkIndex
from cluster.documents.organisation_deletion import KEPT, owner_columns, remaining, request_deletion
from cluster.documents.vector_stores.attaching import attach
from cluster.documents.vector_stores.stores import NewStore, create_store, list_stores
from cluster.engines.contract import Fingerprint
from cluster.errors import Conflict, Unavailable
from cluster.jobs.jobs import SYSTEM, Job, JobState, get_job
from cluster.keys.api_keys import NewKey, create_key
from cluster.organisations.organisations import ensure_organisation
from cluster.settings import Settings
from cluster.settings.indexes import IndexSource
from cluster.settings.values import Table
from cluster.usage.events import UsageEvent, UsageSource, event_id, record_usage
from cluster.vector_index.collections import collection_name, look_up
from tests import folder_index
from tests.conftest import new_organisation
from tests.data_jobs.running_consumer import consuming
from tests.indexed_files import make_files, process
from tests.own_database import own_database
from tests.waiting import until

FINGERPRINT = Fingerprint(
    model="small",
    revision="0123456789ab",
    dim=3,
    max_tokens=256,
    pooling="mean",
    normalised=True,
    precision="float32",
)


@pytest.fixture(scope="module")
def own(settings: Settings, database_url: str) -> Iterator[Settings]:
    """Settings with a database of its own, because a key in the shared database would make other tests
    fail.
    """
    indexes = Table({"folder": IndexSource(kind=folder_index.NAME)})
    with own_database(settings, database_url) as own:
        yield own.model_copy(update={"indexes": indexes})


@pytest.fixture(scope="module")
def own_pool(own: Settings) -> Iterator[ConnectionPool]:
    """Connections to that database."""
    pool = open_pool(own, access=OWNER)
    yield pool
    pool.close()


async def no_vectors(*_: Any, **__: Any) -> Any:
    """Fail, because no job here needs a vector."""
    raise AssertionError("a deletion needs no vectors")


def vectors_of(texts: Sequence[str]) -> NDArray[np.float32]:
    """Any vectors; no test here searches."""
    return np.ones((len(texts), FINGERPRINT.dim), np.float32)


def searchable_store(connection: Connection[Any], index: ChunkIndex, owner: str) -> None:
    """A store on this index with a searchable file."""
    index.ensure(collection_name(FINGERPRINT), dim=FINGERPRINT.dim)
    new = NewStore(name=f"on {index.name}", index=index.name)
    store = create_store(connection, owner, new, fingerprint=FINGERPRINT)
    (file,) = make_files(connection, owner)
    attach(connection, store, file)
    connection.commit()
    process(connection, index, store, file, ["a text"], embed=vectors_of)


def owner_with_everything(pool: ConnectionPool, settings: Settings) -> str:
    """Return an organisation with a row in every table into which a test can write directly."""
    owner = new_organisation(pool)
    with open_blob_store(settings).writer(owner) as writer:
        writer.write(b"the bytes of a file")
        writer.commit()
    with pool.connection() as connection:
        indexes = ChunkIndexes(settings, pool)
        for index in (indexes.default, indexes.chosen("folder")):
            searchable_store(connection, index, owner)
        (waiting,) = make_files(connection, owner)
        later = datetime.now(UTC) + timedelta(days=1)
        attach(connection, list_stores(connection, owner).items[0], waiting, run_at=later)
        create_key(connection, owner, NewKey(name="ci"))
        event = UsageEvent(
            organisation=owner,
            id=event_id("embedding", owner),
            source=UsageSource.HTTP,
            model="m",
            quantity=7,
        )
        record_usage(connection, [event])
        create_budget(connection, owner, NewBudget(unit=Unit.TOKENS, period=Period.DAY, stop_at=Decimal(9)))
        connection.execute(
            "INSERT INTO idempotency_keys (organisation, key, request, status, answer)"
            " VALUES (%s, 'k', 'r', 200, '{}')",
            [owner],
        )
    return owner


def wait_for_end(pool: ConnectionPool, job: str) -> dict[str, Any]:
    """Return the result of the deletion, after its end."""

    def read() -> Job:
        with pool.connection() as connection:
            return get_job(connection, SYSTEM, job)

    found: Job = until(read, lambda job: job.state.ended)
    assert found.state == JobState.SUCCEEDED, found.error
    return dict(found.result or {})


def test_the_job_deletes_everything_but_usage_and_proves_it(
    own: Settings, own_pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One attempt fails in the middle, and the next one continues."""
    delete_blobs, failures = BlobStore.delete_organisation, iter([Unavailable("the storage is away")])

    def failing_once(blobs: BlobStore, organisation: str) -> int:
        for failure in failures:
            raise failure
        return delete_blobs(blobs, organisation)

    monkeypatch.setattr(BlobStore, "delete_organisation", failing_once)
    owner, other = owner_with_everything(own_pool, own), owner_with_everything(own_pool, own)
    with own_pool.connection() as connection:
        before = remaining(connection, other)
        vectors = next(table for table in before if table.startswith("vectors_"))
        assert min(before[name] for name in ("files", "jobs", "vector_stores", "documents", vectors)) > 0
        assert min(before[name] for name in ("budgets", "budget_periods")) > 0
        stores = [store.id for store in list_stores(connection, owner).items]
        job = request_deletion(connection, owner, default=own.organisation).id
    with consuming(own, own_pool, embed=no_vectors):
        result = wait_for_end(own_pool, job)
    with own_pool.connection() as connection:
        assert set(remaining(connection, owner).values()) == {0}
        assert remaining(connection, other) == before
        left = connection.execute(
            "SELECT quantity FROM usage_events WHERE organisation = %s", [owner]
        ).fetchall()
        collection = look_up(connection, collection_name(FINGERPRINT))
    assert left == [(7,)]
    assert collection is not None
    elsewhere = ChunkIndexes(own, own_pool).external_indexes()["folder"]
    assert [elsewhere.count(owner, store, collection=collection) for store in stores] == [0, 0]
    assert set(result["remaining"].values()) == {0}
    assert result["remaining"].keys() == before.keys()
    assert result["kept"]["usage_events"] == 1
    assert result["blobs"] == 1
    owners = {blob.organisation for blob in open_blob_store(own).list()}
    assert other in owners
    assert owner not in owners


def test_from_the_request_on_nothing_new_is_accepted(own: Settings, own_pool: ConnectionPool) -> None:
    owner = new_organisation(own_pool)
    with own_pool.connection() as connection:
        create_key(connection, owner, NewKey(name="ci"))
        create_budget(connection, owner, NewBudget(unit=Unit.TOKENS, period=Period.DAY, stop_at=Decimal(9)))
        request_deletion(connection, owner, default=own.organisation)
    late = UsageEvent(organisation=owner, id="late", source=UsageSource.HTTP, model="m", quantity=7)
    with own_pool.connection() as connection:
        record_usage(connection, [late])  # of work that was done before
        with pytest.raises(errors.ForeignKeyViolation, match="is deleted"), connection.transaction():
            make_files(connection, owner, 1)
        with pytest.raises(Conflict), connection.transaction():
            create_key(connection, owner, NewKey(name="late"))
        with pytest.raises(Conflict), connection.transaction():
            request_deletion(connection, owner, default=own.organisation)
        ensure_organisation(connection, owner)  # opening the database does not create it again
        keys = connection.execute("SELECT revoked_at IS NULL FROM api_keys WHERE organisation = %s", [owner])
        assert keys.fetchall() == [(False,)]


@pytest.mark.parametrize("id", [SYSTEM, "default"])
def test_the_default_organisation_and_that_of_the_cluster_stay(
    connection: Connection[Any], settings: Settings, id: str
) -> None:
    with pytest.raises(Conflict, match="cannot be deleted"):
        request_deletion(connection, id, default=settings.organisation)


def test_every_table_with_an_owner_is_deleted_or_kept_and_refuses_rows_of_a_deleted_owner(
    connection: Connection[Any],
) -> None:
    """``migrate`` adds the trigger to new tables."""
    tables = {column.table for column in owner_columns(connection)}
    referring = {
        table
        for (table,) in connection.execute(
            "SELECT conrelid::regclass::text FROM pg_constraint JOIN pg_attribute"
            " ON attrelid = conrelid AND attnum = conkey[1]"
            " WHERE confrelid = 'organisations'::regclass AND attname = 'organisation'"
        )
    }
    guarded = {
        table
        for (table,) in connection.execute(
            "SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'organisation_is_not_deleted'"
        )
    }
    assert referring - guarded == {"usage_events", "usage_reports"}
    assert {"files", "jobs", "vector_stores", "api_keys"} <= tables
    assert not tables & KEPT
