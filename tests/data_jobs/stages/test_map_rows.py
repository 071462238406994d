"""An exception fails only its own row, settled rows pass unchanged, and every table has the same columns."""

import pyarrow as pa
import pytest

from cluster.errors import Unavailable
from cluster.records import Outcome
from cluster.settings import Settings
from data_jobs.stages.document_row import ROWS, DocumentRow, new_row, to_rows, to_table, unpack
from data_jobs.stages.map_rows import failed, map_rows


def test_an_exception_is_the_outcome_of_its_row_alone() -> None:
    def fragile(row: DocumentRow) -> DocumentRow:
        if row["document"] == "bad":
            raise ValueError("the reason")
        return {**row, "media_type": "seen"}

    good, bad = to_rows(
        map_rows(fragile, Settings())(to_table([new_row("good", "a", ""), new_row("bad", "b", "")]))
    )
    assert (good["outcome"], good["media_type"]) == (Outcome.OK, "seen")
    assert bad["outcome"] == Outcome.FAILED
    assert "the reason" in bad["detail"]


def test_an_absent_database_is_not_the_fault_of_the_document() -> None:
    def away(row: DocumentRow) -> DocumentRow:
        raise Unavailable("gone")

    with pytest.raises(Unavailable):
        map_rows(away, Settings())(to_table([new_row("a", "a", "")]))


def test_settled_rows_pass_unchanged() -> None:
    def never(row: DocumentRow) -> DocumentRow:
        raise AssertionError

    rows = [
        failed(new_row("a", "a", ""), Outcome.CORRUPT, "why"),
        {**new_row("b", "b", ""), "unchanged": True},
    ]
    assert to_rows(map_rows(never, Settings())(to_table(rows))) == rows


def test_an_empty_table_without_columns_is_accepted() -> None:
    table = map_rows(lambda row: row, Settings())(pa.table({}))
    assert (table.schema, len(table)) == (ROWS, 0)


def test_a_row_without_chunks_still_has_a_typed_table() -> None:
    assert unpack(new_row("a", "a", "")).column_names[0] == "id"
