"""The processes that read hostile files start quickly, because they import only what they use."""

import subprocess
import sys

import pytest

from cluster.database.queries import queries
from cluster.platform_data.event_csv import COLUMNS
from tests.conftest import ROOT
from tests.waiting import LONGEST_WAIT_S


@pytest.mark.parametrize("kind", ["events", "given_vectors"])
def test_a_process_that_reads_rows_imports_no_database_and_no_settings(kind: str) -> None:
    program = f"import sys, data_jobs.stages.{kind}.reader_process; print(*sys.modules)"
    started = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=LONGEST_WAIT_S,
    )
    foreign = {"psycopg", "procrastinate", "structlog", "cluster.settings", "torch", "ray"}
    assert foreign.isdisjoint(started.stdout.split())


def test_checked_events_have_the_columns_that_are_copied_into_the_database() -> None:
    columns = queries("cluster.platform_data", "ingestion.sql")["columns"]
    assert tuple(column.split()[0] for column in columns.split(",")) == COLUMNS
