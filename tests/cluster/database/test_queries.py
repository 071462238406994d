"""SQL is read by name, and every statement on data of organisations names the organisation."""

from pathlib import Path

import pytest

from cluster.database.queries import queries
from tests.conftest import ROOT

#: Packages with statements on data of organisations.
OWNED = (
    "cluster/agents",
    "cluster/analytics",
    "cluster/budgets",
    "cluster/crawls",
    "cluster/documents",
    "cluster/jobs",
    "cluster/organisations",
    "cluster/profiles",
    "cluster/responses",
    "cluster/usage",
    "cluster/usage_reports",
    "cluster/webhooks",
)
FILES = sorted(file for package in OWNED for file in (ROOT / package).rglob("*.sql"))
#: Statements of the queue, of upkeep and of the operator, which concern every organisation. The names of
#: further such statements end in ``_of_all``.
OF_ALL = {
    "attempts.sql": {"take_turn"},
    "change_counters.sql": {"uncounted", "count", "count_one_change"},
    "knowledge.sql": {"present"},  # wraps a statement that names it
    "features.sql": {"features"},  # reads one of two subqueries, which name it
    "missing_indexes.sql": {"indexed_here"},
    "organisation_deletion.sql": {"columns", "references"},  # of the catalogue of Postgres
    "organisations.sql": {"insert", "get", "update", "newest", "oldest", "places"},  # on organisations by id
    "queue_tables.sql": {
        "heartbeat",
        "open_command_entry",
        "close_command_entry",
        "finish_entry",
        "live_workers",
        "lost_jobs",
        "stale_entries",
        "missing_turns",
        "delete_ended_entries",
    },
    "row_progress.sql": {"commit_later"},
    "rescue.sql": {"round", "end_silent_transactions", "alone"},
    "schedules.sql": {"now"},
    "shortages.sql": {"announce", "withdraw", "announced"},
    "store_upkeep.sql": {"organisations"},
    "store_versions.sql": {"find_versioned"},  # wraps statements that name it
}


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_every_statement_names_the_organisation(file: Path) -> None:
    statements = queries(".".join(file.parent.relative_to(ROOT).parts), file.name)
    assert statements
    without = [name for name, sql in statements.items() if "%(organisation)s" not in sql]
    assert {name for name in without if not name.endswith("_of_all")} == OF_ALL.get(file.name, set())


def test_two_statements_with_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sql_twice").mkdir()
    (tmp_path / "sql_twice" / "__init__.py").touch()
    (tmp_path / "sql_twice" / "twice.sql").write_text("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="same name"):
        queries("sql_twice", "twice.sql")
