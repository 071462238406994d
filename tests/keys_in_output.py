"""Fails a test that lets a key appear in a log, a file or the database. ``tests.conftest`` takes the hook.

Tests that need a secret use a marked one. The mark appears neither in the captured output of a test, nor in
the files of a cluster (logs of Postgres and Ray, archive), nor in a column of its database.

    KEY = marked_key("sk-")
"""

import os
import re
from base64 import urlsafe_b64decode
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from psycopg.sql import SQL, Identifier, Literal

from cluster.database import bundled
from cluster.settings import Settings

#: Part of every secret of the tests.
MARK = "SecretOfTheTests"
#: Folders of a home that hold nothing readable: the data of Postgres, and numbers of engines.
NOT_READ = {"data", "engines"}


def marked_key(prefix: str) -> str:
    """A provider's key with the mark. Lists may show its last four characters."""
    return f"{prefix}{MARK}-0123456789-last"


def marked_fernet_key() -> str:
    """A value for ``CLUSTER_SECRET_KEY`` with the mark."""
    key = f"{MARK:A<42}A="
    assert len(urlsafe_b64decode(key)) == 32
    return key


def files_with_a_key(home: Path) -> list[Path]:
    """The readable files below this folder that contain the mark."""
    found = []
    for folder, folders, files in os.walk(home):
        folders[:] = [name for name in folders if name not in NOT_READ]
        paths = [Path(folder) / name for name in files]
        found += [path for path in paths if path.is_file() and MARK.encode() in path.read_bytes()]
    return found


def tables_with_a_key(connection: Connection[Any]) -> list[str]:
    """The tables of this database with the mark in a text, a JSON or an array."""
    columns = connection.execute(
        """
        SELECT table_name, array_agg(column_name::text) FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type IN ('text', 'jsonb', 'json', 'ARRAY', 'character varying')
          AND table_name IN (SELECT relname FROM pg_class WHERE relkind = 'r')
        GROUP BY table_name ORDER BY table_name"""
    ).fetchall()
    found = []
    for table, names in columns:
        texts = SQL(" || ").join(SQL("coalesce({}::text, '')").format(Identifier(name)) for name in names)
        query = SQL("SELECT EXISTS (SELECT FROM {} WHERE strpos({}, {}) > 0)")
        row = connection.execute(query.format(Identifier(table), texts, Literal(MARK))).fetchone()
        if row == (True,):
            found.append(table)
    return found


def assert_no_key(settings: Settings) -> None:
    """Check that nothing that a cluster has written contains a key. The database is read only if it runs."""
    assert files_with_a_key(settings.home) == []
    if bundled.status(settings).pid is not None:
        with psycopg.connect(bundled.url(settings)) as connection:
            assert tables_with_a_key(connection) == []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Fail a test whose captured output contains the mark."""
    report = yield
    if call.when == "teardown" and report.passed:  # it has the sections of setup and call, too
        for name, text in report.sections:
            if MARK in text:
                line = re.search(rf".*{MARK}.*", text)
                report.outcome = "failed"
                report.longrepr = f"{item.nodeid}: a key appears in {name}: {line and line.group()[:300]}"
    return report
