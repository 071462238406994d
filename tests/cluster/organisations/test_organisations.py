"""One function creates organisations, and the row of each holds its limits."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

import cluster
from cluster.database import translated
from cluster.documents.vector_stores.stores import NewStore, create_store
from cluster.engines.contract import Fingerprint
from cluster.errors import Conflict
from cluster.organisations.organisations import StorageLimits, ensure_organisation, storage_limits

ROOT = Path(cluster.__file__).parents[1]
DEFAULT = StorageLimits(files=10, bytes=1_000)


def test_an_organisation_that_is_ensured_many_times_at_once_is_created_once(pool: ConnectionPool) -> None:
    id = f"org-{uuid4().hex[:12]}"

    def ensure(_: int) -> None:
        with pool.connection() as connection:
            ensure_organisation(connection, id)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ensure, range(16)))
    with pool.connection() as connection:
        assert connection.execute("SELECT name FROM organisations WHERE id = %s", [id]).fetchall() == [(id,)]


def test_beside_migrations_one_statement_creates_organisations() -> None:
    files = [
        file
        for package in ("cluster", "data_jobs", "serve_app")
        for pattern in ("*.py", "*.sql")
        for file in (ROOT / package).rglob(pattern)
        if file.parent.name != "migrations"
        and re.search(r"INTO\s+organisations", file.read_text(encoding="utf-8"), re.IGNORECASE)
    ]
    assert [file.name for file in files] == ["organisations.sql"]


def test_a_write_for_an_organisation_that_does_not_exist_is_refused(
    connection: Connection[Any], fingerprint: Fingerprint
) -> None:
    with pytest.raises(Conflict), translated():
        create_store(connection, f"org-{uuid4().hex[:12]}", NewStore(), fingerprint=fingerprint)


@pytest.mark.parametrize(
    ("own", "limits"),
    [
        ("files_limit = NULL", DEFAULT),
        ("files_limit = 3", StorageLimits(files=3, bytes=1_000)),
        ("files_limit = 0, bytes_limit = 5", StorageLimits(files=0, bytes=5)),
    ],
    ids=["none of its own", "one of its own", "no limit"],
)
def test_an_organisations_own_limits_win_over_the_default(
    connection: Connection[Any], organisation: str, own: str, limits: StorageLimits
) -> None:
    connection.execute(f"UPDATE organisations SET {own} WHERE id = %s", [organisation])
    assert storage_limits(connection, organisation, default=DEFAULT) == limits


def test_workers_of_the_release_before_read_the_concurrency_limit_under_its_old_name(
    connection: Connection[Any], organisation: str
) -> None:
    connection.execute("UPDATE organisations SET concurrency_limit = 2 WHERE id = %s", [organisation])
    assert connection.execute("SELECT slots FROM organisations WHERE id = %s", [organisation]).fetchall() == [
        (2,)
    ]
