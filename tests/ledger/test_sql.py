"""The ledger's SQL is read by name, and no statement of it runs without an organisation."""

from pathlib import Path

import pytest

from cluster.database.queries import queries

FILES = [
    "documents.sql",
    "file_batches.sql",
    "files.sql",
    "idempotency.sql",
    "job_view.sql",
    "jobs.sql",
    "retention.sql",
    "store_files.sql",
    "stores.sql",
    "uploads.sql",
    "usage.sql",
]


@pytest.mark.parametrize("file", FILES)
def test_every_statement_names_the_organisation(file: str) -> None:
    statements = queries("cluster.ledger", file)
    assert statements
    without = [name for name, sql in statements.items() if "%(organisation)s" not in sql]
    assert [name for name in without if not name.endswith("_of_all")] == []  # upkeep's: they say whose what they return is


def test_two_statements_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sql_twice").mkdir()
    (tmp_path / "sql_twice" / "__init__.py").touch()
    (tmp_path / "sql_twice" / "twice.sql").write_text("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="twice"):
        queries("sql_twice", "twice.sql")
