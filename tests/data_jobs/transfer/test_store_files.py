"""A store comes back from its Parquet file exactly, and a file that is wrong is refused with a sentence."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from psycopg import Connection

from cluster.database.paging import FIRST_PAGE
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.vector_stores import stores
from cluster.documents.vector_stores.store_files import list_store_files
from cluster.documents.vector_stores.stores import NewStore, VectorStore
from cluster.errors import Conflict, InvalidInput, NotFound
from cluster.jobs.jobs import JobState
from cluster.settings import Settings
from data_jobs.copy_store import copy_store
from data_jobs.export_store import export_store, main
from data_jobs.import_store import import_store
from tests import folder_index
from tests.conftest import new_organisation
from tests.data_jobs.transfer.conftest import FINGERPRINT, Fill, contents

COUNTED = ("source", "written", "unchanged", "failed")


def counted(summary: Any) -> tuple[int, ...]:
    return tuple(summary[name] for name in COUNTED)


def named(connection: Connection[Any], here: Settings, name: str) -> VectorStore:
    return stores.find_store(connection, here.organisation, name)


@pytest.fixture
def file(here: Settings, fill: Fill, tmp_path: Path) -> Path:
    """The file of a store with twelve chunks."""
    fill("a")
    export_store(here, "a", str(tmp_path / "a.parquet"))
    return tmp_path / "a.parquet"


@pytest.mark.parametrize(("first", "second"), [("pgvector", "folder"), ("folder", "pgvector")])
def test_a_store_comes_back_exactly_also_in_another_index(
    connection: Connection[Any],
    here: Settings,
    indexes: ChunkIndexes,
    fill: Fill,
    tmp_path: Path,
    first: str,
    second: str,
) -> None:
    source, path = fill("a", index=first), str(tmp_path / "a.parquet")
    assert counted(export_store(here, "a", path)) == (12, 12, 0, 0)
    assert counted(import_store(here, path, "b", index=second)) == (12, 12, 0, 0)
    target = named(connection, here, "b")
    assert contents(indexes, target) == contents(indexes, source)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
    one, two = (list_store_files(connection, store, FIRST_PAGE).items for store in (source, target))
    assert [(file.file, file.status, file.pages) for file in two] == [
        (file.file, file.status, file.pages) for file in one
    ]
    assert counted(import_store(here, path, "b"))[2:] == (12, 0)


OPTIONS: dict[str, Any] = {
    "description": "The pumps",
    "metadata": {"of": "tests"},
    "chunking_strategy": {
        "type": "static",
        "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 20},
    },
    "expires_after": {"anchor": "last_active_at", "days": 30},
    "partial": True,
    "ocr": "force",
    "ocr_languages": "deu+eng",
}


def test_a_new_store_gets_all_options_of_the_exported_or_copied_store(
    connection: Connection[Any], here: Settings, tmp_path: Path
) -> None:
    assert OPTIONS.keys() == {field.name for field in fields(NewStore)} - {"name", "index"}
    stores.create_store(connection, here.organisation, NewStore(name="a", **OPTIONS), fingerprint=FINGERPRINT)
    path = str(tmp_path / "a.parquet")
    export_store(here, "a", path)
    import_store(here, path, "b")
    copy_store(here, "a", "c")
    for name in ("b", "c"):
        assert {option: getattr(named(connection, here, name), option) for option in OPTIONS} == OPTIONS


@pytest.mark.parametrize(
    "options",
    [
        {"chunking_strategy": {"type": "paragraphs"}},
        {"chunking_strategy": {"type": "static", "static": {"max_chunk_size_tokens": 1 << 40}}},
        {"ocr_languages": "../../etc"},
        {"metadata": {str(n): "x" for n in range(17)}},
        {"expires_after": {"anchor": "last_active_at", "days": 0}},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_that_no_store_can_have_are_refused(
    here: Settings, file: Path, options: dict[str, Any]
) -> None:
    table = pq.read_table(file)
    described = json.loads(table.schema.metadata[b"embedding_cluster"]) | {"store": options}
    pq.write_table(table.replace_schema_metadata({"embedding_cluster": json.dumps(described)}), file)
    with pytest.raises(InvalidInput, match=f"store.{next(iter(options))}"):
        import_store(here, str(file), "b")


def test_a_file_is_readable_by_other_tools(here: Settings, file: Path) -> None:
    table = pq.read_table(file)
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 3)
    described = json.loads(table.schema.metadata[b"embedding_cluster"])
    assert described["fingerprint"] == FINGERPRINT.to_dict()
    (row,) = table.filter(pc.equal(table["text"], "Only the operator may stop the pump.")).to_pylist()
    assert (row["page"], row["start"], row["end"]) == (3, 0, 36)
    assert json.loads(row["attributes"])["page"] == "front"  # the owner's attribute of the same name


def test_another_organisation_imports_the_chunks_without_the_files_that_it_does_not_have(
    connection: Connection[Any], pool: Any, here: Settings, file: Path, indexes: ChunkIndexes
) -> None:
    there = here.model_copy(update={"organisation": new_organisation(pool)})
    assert counted(import_store(there, str(file), "a")) == (12, 12, 0, 0)
    one, two = named(connection, here, "a"), named(connection, there, "a")
    assert contents(indexes, two) == contents(indexes, one)
    assert list_store_files(connection, two, FIRST_PAGE).items == []


def test_an_import_into_a_store_that_has_a_part_writes_the_rest(
    connection: Connection[Any], settings: Settings, here: Settings, indexes: ChunkIndexes, file: Path
) -> None:
    table = pq.read_table(file)
    parts = pq.ParquetFile(file).schema_arrow
    part = file.with_name("part.parquet")
    pq.write_table(table.slice(0, 5).cast(parts), part)
    import_store(here, str(part), "b", index="folder")
    folder_index.behave(settings, failing_writes=1)
    assert sum(counted(import_store(here, str(file), "b"))[1:3]) == 12
    assert contents(indexes, named(connection, here, "b")) == contents(indexes, named(connection, here, "a"))


def test_buckets_are_read_and_written(here: Settings, file: Path, fill: Fill) -> None:
    del file
    export_store(here, "a", "memory://exports/a.parquet")
    assert fsspec.filesystem("memory").size("/exports/a.parquet") > 0
    assert counted(import_store(here, "memory://exports/a.parquet", "c"))[:2] == (12, 12)


def test_the_commands_leave_jobs_with_their_counts(
    connection: Connection[Any], here: Settings, file: Path
) -> None:
    import_store(here, str(file), "b")
    jobs = connection.execute(
        "SELECT kind, state, done, total, unit, result ->> 'written' FROM jobs WHERE organisation = %s"
        " AND kind IN ('export_store', 'import_store') ORDER BY created_at",
        [here.organisation],
    ).fetchall()
    assert jobs == [
        (kind, JobState.SUCCEEDED, 12, 12, "chunks", "12") for kind in ("export_store", "import_store")
    ]


def damaged(file: Path, **columns: Any) -> str:
    """Write a copy of the file with other columns: a value for the first row, or the whole column."""
    table = pq.read_table(file)
    for name, value in columns.items():
        column = value
        if not isinstance(value, pa.Array):
            kind = table.schema.field(name).type
            column = pa.concat_arrays([pa.array([value], kind), table[name].combine_chunks()[1:]])
        field = pa.field(name, column.type)
        table = table.set_column(table.schema.get_field_index(name), field, column)
    path = file.with_name("damaged.parquet")
    pq.write_table(table, path)
    return str(path)


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("attributes", "[1]", "column 'attributes' of row 1 is not a JSON object"),
        ("attributes", "[" * 100_000, "column 'attributes' of row 1 is not a JSON object"),
        ("record", '{"id": "d"', "the record of document .* is wrong"),
        ("document", "zzz", "do not follow each other, or documents are not in the order"),
        ("vector", None, "one of the rows 1 to 12 has no whole vector"),
        ("text", None, "row 1 has no id, document or text"),
        ("id", pa.array(range(12)), "column 'id' is int64, not string"),
        ("vector", pa.array([[1.0, 2.0]] * 12, pa.list_(pa.float32(), 2)), "3 dimensions, so it must be"),
    ],
)
def test_a_damaged_file_is_refused_with_the_row(
    here: Settings, file: Path, column: str, value: Any, sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        import_store(here, damaged(file, **{column: value}), "b")


def test_a_strategy_that_no_chunker_serves_is_refused_by_name(here: Settings, file: Path) -> None:
    rows = pq.read_table(file)["record"].to_pylist()
    number = next(n for n, row in enumerate(rows) if row and json.loads(row)["file"])
    record = json.loads(rows[number])
    record["file"]["chunking_strategy"] = {"type": "paragraphs"}
    rows = [json.dumps(record) if row == rows[number] else row for row in rows]
    refused = (
        r"the record of document .*no chunker serves the chunking_strategy 'paragraphs'; choose one of auto"
    )
    with pytest.raises(InvalidInput, match=refused):
        import_store(here, damaged(file, record=pa.array(rows)), "b")


def test_a_row_whose_vector_is_not_finite_is_counted_and_the_others_written(
    here: Settings, file: Path
) -> None:
    last = pq.read_table(file)["vector"].to_pylist()
    last[-1] = [float("nan"), 0.0, 0.0]
    summary = import_store(here, damaged(file, vector=pa.array(last, pa.list_(pa.float32(), 3))), "b")
    assert counted(summary) == (12, 11, 0, 1)
    assert "row 2" in summary["left_out"][0]


def test_files_of_other_vectors_or_of_other_programs_are_refused(
    connection: Connection[Any], here: Settings, file: Path
) -> None:
    other = replace(FINGERPRINT, model="other")
    stores.create_store(connection, here.organisation, NewStore(name="other"), fingerprint=other)
    with pytest.raises(Conflict, match=r"holds vectors of other@.*those to write are of small@"):
        import_store(here, str(file), "other")
    plain = file.with_name("plain.parquet")
    pq.write_table(pa.table({"id": ["a"]}), plain)
    with pytest.raises(
        InvalidInput, match=r"no column 'document'; it is not a file of data_jobs.export_store"
    ):
        import_store(here, str(plain), "b")
    text = file.with_name("text.parquet")
    text.write_text("no Parquet")
    with pytest.raises(InvalidInput, match="is not a Parquet file"):
        import_store(here, str(text), "b")
    with pytest.raises(NotFound, match="no such file"):
        import_store(here, str(file.with_name("missing.parquet")), "b")
    table = pq.read_table(file).replace_schema_metadata(
        {b"embedding_cluster": b'{"format": 2, "fingerprint": {}}'}
    )
    pq.write_table(table, text)
    with pytest.raises(InvalidInput, match="has format 2, and this release reads 1"):
        import_store(here, str(text), "b")


def test_an_export_that_fails_leaves_no_file_and_the_old_one_in_place(
    here: Settings, fill: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill("a")
    place = tmp_path / "a.parquet"
    place.write_text("the old one")

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("data_jobs.transfer.parquet_file.StoreFileWriter.write", fail)
    with pytest.raises(InvalidInput, match="cannot be written: No space left on device"):
        export_store(here, "a", str(place))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.parquet", "the old one")]
    with pytest.raises(SystemExit):
        main(["--help"])
