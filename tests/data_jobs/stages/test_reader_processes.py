"""The processes that read hostile files start quickly, because they import only what they use."""

import pytest

from cluster.database.queries import queries
from cluster.platform_data.event_csv import COLUMNS
from tests.imported_modules import modules_after


@pytest.mark.parametrize("kind", ["events", "given_vectors"])
def test_a_process_that_reads_rows_imports_no_database_and_no_settings(kind: str) -> None:
    found = modules_after(f"import data_jobs.stages.{kind}.reader_process")
    foreign = {"psycopg", "procrastinate", "structlog", "cluster.settings", "torch", "ray"}
    assert foreign.isdisjoint(found)


def test_checked_events_have_the_columns_that_are_copied_into_the_database() -> None:
    columns = queries("cluster.platform_data", "ingestion.sql")["columns"]
    assert tuple(column.split()[0] for column in columns.split(",")) == COLUMNS
