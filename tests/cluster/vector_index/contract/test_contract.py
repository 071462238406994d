"""The promises of a chunk index, for every place where vectors can be."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from psycopg.errors import DeadlockDetected
from psycopg_pool import ConnectionPool

from cluster.documents.chunks import chunk_changes, chunk_store
from cluster.documents.chunks.bulk_load import bulk_load
from cluster.documents.chunks.chunk_ranking import Question
from cluster.documents.indexing import ChunkIndex
from cluster.errors import Conflict, InvalidInput, NotFound, Permanent, Retryable
from cluster.vector_index import Written
from tests.cluster.vector_index.contract import DIM, ORG, STORE
from tests.cluster.vector_index.contract.conftest import MakeRow, ids, persistently
from tests.waiting import LONGEST_WAIT_S


def test_ensure_is_idempotent_safe_to_race_and_refuses_another_shape(
    index: ChunkIndex, collection: str
) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: index.ensure(collection, dim=DIM), range(8)))
    with pytest.raises(Conflict, match="dim 8"):
        index.ensure(collection, dim=DIM + 1)
    with pytest.raises(Conflict, match="cosine"):
        index.ensure(collection, dim=DIM, metric="dot")


@pytest.mark.parametrize(
    ("name", "dim"), [("Upper", 8), ("1st", 8), ("a;drop", 8), ("x" * 41, 8), ("fine", 0), ("fine", 16_001)]
)
def test_ensure_refuses_invalid_names_and_dimensions(index: ChunkIndex, name: str, dim: int) -> None:
    with pytest.raises(InvalidInput):
        index.ensure(name, dim=dim)


def test_a_collection_that_was_never_made_is_not_found(index: ChunkIndex) -> None:
    with pytest.raises(NotFound):
        index.count(ORG, STORE, collection="nowhere")


def test_every_row_of_an_upsert_is_accounted_for(index: ChunkIndex, collection: str, row: MakeRow) -> None:
    rows = [row(str(n)) for n in range(2_500)]
    assert index.upsert(ORG, STORE, rows, collection=collection) == Written(written=2_500)
    assert index.upsert(ORG, STORE, rows, collection=collection) == Written(unchanged=2_500)
    changed = [replace(rows[0], text="other"), row("new")]
    assert index.upsert(ORG, STORE, [*changed, rows[1]], collection=collection) == Written(
        written=2, unchanged=1
    )
    assert index.count(ORG, STORE, collection=collection) == 2_501


def test_duplicates_in_one_call_collapse_to_the_last(
    index: ChunkIndex, collection: str, row: MakeRow
) -> None:
    assert (
        index.upsert(
            ORG, STORE, [row("a", text="first"), row("a", text="last")], collection=collection
        ).written
        == 1
    )
    (stored,) = index.scan(ORG, STORE, collection=collection)
    assert stored.text == "last"


def test_a_row_comes_back_as_it_went_in(index: ChunkIndex, collection: str, row: MakeRow) -> None:
    sent = row(
        "ä", text="line\n\ttab 東京 \u2028", page=3, ratio=0.1, flag=True, words=["a", "b"], nothing=None
    )
    index.upsert(ORG, STORE, [sent], collection=collection)
    (stored,) = index.scan(ORG, STORE, collection=collection)
    assert np.array_equal(stored.vector, sent.vector)
    assert replace(stored, vector=None) == replace(sent, vector=None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"vector": None}, "no vector"),
        ({"vector": np.ones(DIM + 1, np.float32)}, "shape"),
        ({"vector": np.full(DIM, np.nan, np.float32)}, "NaN"),
        ({"vector": np.zeros(DIM, np.float32)}, "length zero"),
        ({"vector": np.full(DIM, 7e4, np.float32)}, "beyond 65,504"),
        ({"vector": np.full(DIM, 1e300)}, "beyond 65,504"),
        ({"vector": np.full(DIM, 1e-30, np.float32)}, "length zero"),
        ({"text": "a\0b"}, "NUL"),
        ({"text": "a\ud800b"}, "surrogate"),
        ({"text": "ä" * 200_000}, "longer than"),
        ({"document": ""}, "1 to 512"),
        ({"attributes": {"a": ["b\0"]}}, "NUL"),
        ({"attributes": {"a": float("nan")}}, "not JSON"),
        ({"attributes": {"a": {1, 2}}}, "not JSON"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_chunks_that_no_search_could_find_are_refused_by_id_and_nothing_is_written(
    index: ChunkIndex, collection: str, row: MakeRow, change: dict[str, object], reason: str
) -> None:
    with pytest.raises(Permanent, match=reason) as refused:
        index.upsert(ORG, STORE, [row("good"), replace(row("bad"), **change)], collection=collection)  # type: ignore[arg-type]
    assert refused.value.row_ids == ("bad",)
    assert index.count(ORG, STORE, collection=collection) == 0


def test_replacing_a_document_leaves_exactly_its_new_rows(
    index: ChunkIndex, collection: str, row: MakeRow
) -> None:
    index.upsert(ORG, STORE, [row("other", document="other")], collection=collection)
    first = [row("a", page=1), row("b", page=1), row("c", page=1)]
    assert index.replace_document(ORG, STORE, "doc", first, collection=collection) == Written(written=3)
    kept = replace(row("a", page=2), vector=None)
    second = [kept, row("b", page=1), row("d", page=1)]
    assert index.replace_document(ORG, STORE, "doc", second, collection=collection) == Written(
        written=2, unchanged=1, deleted=1
    )
    assert index.replace_document(ORG, STORE, "doc", second, collection=collection) == Written(unchanged=3)
    stored = {stored.id: stored for stored in index.scan(ORG, STORE, collection=collection)}
    assert stored.keys() == {"a", "b", "d", "other"}
    assert stored["a"].attributes == {"page": 2}
    assert np.array_equal(stored["a"].vector, row("a").vector)
    assert index.stored_ids(ORG, STORE, "doc", collection=collection) == {"a", "b", "d"}


def test_keeping_a_vector_that_is_not_there_is_an_error_and_changes_nothing(
    index: ChunkIndex, collection: str, row: MakeRow
) -> None:
    index.replace_document(ORG, STORE, "doc", [row("a")], collection=collection)
    with pytest.raises(Permanent) as refused:
        index.replace_document(ORG, STORE, "doc", [replace(row("gone"), vector=None)], collection=collection)
    assert refused.value.row_ids == ("gone",)
    assert ids(index, collection) == ["a"]


def test_a_second_writer_of_a_document_waits_for_the_first_and_leaves_exactly_its_own(
    index: ChunkIndex, collection: str, row: MakeRow, pool: ConnectionPool
) -> None:
    first, second = ([row(f"{version}{n}") for n in range(5)] for version in "xy")
    ahead = index.write_ahead(ORG, STORE, first, collection=collection)
    with ThreadPoolExecutor(1) as threads, pool.connection() as connection:
        with connection.transaction():
            index.make_current(connection, ORG, STORE, "doc", first, collection=collection, ahead=ahead)
            waiting = threads.submit(index.replace_document, ORG, STORE, "doc", second, collection=collection)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
        assert waiting.result(timeout=LONGEST_WAIT_S) == Written(written=5, deleted=5)
    assert ids(index, collection) == [row.id for row in second]


def test_many_writers_of_one_document_leave_exactly_one_of_its_versions(
    index: ChunkIndex, collection: str, row: MakeRow
) -> None:
    versions = [
        [row("same", page=n), *(row(f"{version}{n}") for n in range(50))] for n, version in enumerate("xy")
    ]
    with ThreadPoolExecutor(4) as threads:
        turns = [
            threads.submit(
                persistently, index.replace_document, ORG, STORE, "doc", versions[n % 2], collection
            )
            for n in range(20)
        ]
    for turn in turns:
        turn.result()
    assert ids(index, collection) in [sorted(row.id for row in version) for version in versions]


def test_a_write_keeps_vectors_or_names_the_missing_ones_while_others_delete(
    index: ChunkIndex, collection: str, row: MakeRow, pool: ConnectionPool
) -> None:
    rows = [row(str(n), page=1) for n in range(20)]
    kept = [replace(row(str(n), page=2), vector=None) for n in range(20)]
    refused: list[Permanent] = []

    def write(turn: int) -> None:
        with suppress(Retryable, DeadlockDetected):  # a deadlock, which a caller answers by calling again
            if turn % 2:
                with pool.connection() as connection:
                    chunk_changes.delete_store(connection, ORG, STORE, collection=collection, limit=100)
                index.upsert(ORG, STORE, rows, collection=collection)
                return
            try:
                index.replace_document(ORG, STORE, "doc", kept, collection=collection)
            except Permanent as exc:
                refused.append(exc)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(100)))
    assert all(exc.row_ids for exc in refused)
    for stored in index.scan(ORG, STORE, collection=collection):
        assert np.array_equal(stored.vector, row(stored.id).vector)


def test_a_rolled_back_write_changes_nothing(
    index: ChunkIndex, collection: str, row: MakeRow, pool: ConnectionPool
) -> None:
    index.replace_document(ORG, STORE, "doc", [row("a")], collection=collection)
    with pool.connection() as connection, connection.transaction(force_rollback=True):
        for rows in ([row("b")], [row("c"), replace(row("b"), vector=None)]):
            ahead = index.write_ahead(ORG, STORE, rows, collection=collection)
            index.make_current(connection, ORG, STORE, "doc", rows, collection=collection, ahead=ahead)
        assert ids(index, collection) == ["a"]
    assert ids(index, collection) == ["a"]


def test_a_transaction_sees_its_own_deletions_and_a_rollback_undoes_them(
    index: ChunkIndex, collection: str, row: MakeRow, pool: ConnectionPool
) -> None:
    rows = [row("a", page=1), row("b", page=2)]
    index.upsert(ORG, STORE, [*rows, row("c", document="other")], collection=collection)
    without_vectors = [replace(row, vector=None) for row in rows]
    key = {"collection": collection}
    with pool.connection() as connection, connection.transaction(force_rollback=True):
        assert chunk_store.document_chunks(connection, ORG, STORE, "doc", **key) == without_vectors
        assert chunk_changes.delete_document(connection, ORG, STORE, "doc", **key) == 2
        assert chunk_store.document_chunks(connection, ORG, STORE, "doc", **key) == []
        assert chunk_changes.delete_store(connection, ORG, STORE, **key, limit=10) == 1
        assert ids(index, collection) == ["a", "b", "c"]
    assert ids(index, collection) == ["a", "b", "c"]


def test_a_store_can_be_deleted_a_part_at_a_time(
    index: ChunkIndex, collection: str, row: MakeRow, pool: ConnectionPool
) -> None:
    index.upsert(ORG, STORE, [row(str(n)) for n in range(5)], collection=collection)
    index.upsert(ORG, "kept", [row("k")], collection=collection)
    with pool.connection() as connection:
        deleted = [
            chunk_changes.delete_store(connection, ORG, STORE, collection=collection, limit=2)
            for _ in range(4)
        ]
    assert deleted == [2, 2, 1, 0]
    assert ids(index, collection, "kept") == ["k"]


def test_no_answer_to_questions_asked_together_mixes_two_versions_of_a_document(
    index: ChunkIndex, collection: str, row: MakeRow
) -> None:
    versions = [[row(f"{name}{n}") for n in range(3)] for name in "xy"]
    done = threading.Event()

    def replace_again_and_again() -> None:
        while not done.is_set():
            for rows in versions:
                index.replace_document(ORG, STORE, "doc", rows, collection=collection)

    index.replace_document(ORG, STORE, "doc", versions[0], collection=collection)
    thread = threading.Thread(target=replace_again_and_again)
    thread.start()
    questions = [Question(vector=row("x0").vector, text="text of x0"), Question(text="text")]
    try:
        found = [index.search_all(ORG, STORE, questions, collection=collection, k=10) for _ in range(150)]
    finally:
        done.set()
        thread.join()
    seen = {"".join(sorted({hit.id[0] for hits in answer for hit in hits})) for answer in found}
    assert seen == {"x", "y"}


def test_equal_ids_in_two_stores_or_organisations_stay_apart(
    index: ChunkIndex, collection: str, row: MakeRow, pool: ConnectionPool
) -> None:
    places = [(ORG, STORE), (ORG, "other"), ("other", STORE)]
    for organisation, store in places:
        index.upsert(organisation, store, [row("a", text=f"{organisation} {store}")], collection=collection)
    for organisation, store in places:
        for asked in (
            {"vector": row("a").vector},
            {"text": "other vs"},
            {"vector": row("a").vector, "text": "other vs"},
        ):
            for hit in index.search(organisation, store, collection=collection, **asked):  # type: ignore[arg-type]
                assert hit.text == f"{organisation} {store}"
    with pool.connection() as connection:
        assert chunk_changes.delete_document(connection, "other", STORE, "doc", collection=collection) == 1
        assert chunk_changes.delete_store(connection, ORG, "other", collection=collection, limit=9) == 1
    assert [index.count(*place, collection=collection) for place in places] == [1, 0, 0]


@pytest.mark.parametrize("mode", ["exact", "ann"])
def test_search_gives_the_nearest_first_with_its_cosine(
    index: ChunkIndex, collection: str, row: MakeRow, mode: str
) -> None:
    rows = [row(f"{n:03}") for n in range(200)]
    index.upsert(ORG, STORE, rows, collection=collection)
    query = row("query").vector
    assert query is not None
    cosines = {
        one.id: float(one.vector @ query / np.linalg.norm(one.vector) / np.linalg.norm(query)) for one in rows
    }  # type: ignore[operator,arg-type]
    hits = index.search(ORG, STORE, collection=collection, vector=query, k=10, mode=mode)  # type: ignore[arg-type]
    assert [hit.id for hit in hits] == sorted(cosines, key=lambda id: -cosines[id])[:10]
    assert [hit.score for hit in hits] == pytest.approx([cosines[hit.id] for hit in hits], abs=1e-6)


def test_equal_scores_are_ordered_by_id(index: ChunkIndex, collection: str, row: MakeRow) -> None:
    same = np.ones(DIM, np.float32)
    index.upsert(ORG, STORE, [row(id, vector=same) for id in "cab"], collection=collection)
    assert [hit.id for hit in index.search(ORG, STORE, collection=collection, vector=same, k=2)] == ["a", "b"]


def test_a_text_finds_words_and_is_fused_with_a_vector(
    index: ChunkIndex, collection: str, row: MakeRow
) -> None:
    rows = [
        row("pump", text="Who may stop the pump?"),
        row("valve", text="The valve is red."),
        row("none", text="Nothing here."),
    ]
    index.upsert(ORG, STORE, rows, collection=collection)
    by_text = index.search(ORG, STORE, collection=collection, text="stopping pumps")
    assert [hit.id for hit in by_text] == ["pump"]
    both = index.search(ORG, STORE, collection=collection, text="pump", vector=rows[0].vector)
    assert both[0].id == "pump"
    assert both[0].score == pytest.approx(1)
    assert {hit.id for hit in both} == {"pump", "valve", "none"}


def test_a_quotation_finds_its_place_before_places_with_the_same_words(
    index: ChunkIndex, collection: str, row: MakeRow
) -> None:
    texts = {
        "a": "Valves open. Pumps stop. Stop pumps, open valves, stop and open.",
        "b": "It is said: open the valves, then stop the pump.",
    }
    index.upsert(ORG, STORE, [row(id, text=text) for id, text in texts.items()], collection=collection)
    hits = index.search(ORG, STORE, collection=collection, text="open the valves, then stop the pump")
    assert hits[0].id == "b"


@pytest.mark.parametrize(
    "text",
    [
        "see http://plant.example/pump?id=1&state=a|b!",
        r"it's in C:\new\'quoted' & <-> (!)",
        "naïve 東京 pumps\u2028",
        "'",
        "the",
    ],
)
def test_any_text_can_be_searched_for_and_finds_itself(
    index: ChunkIndex, collection: str, row: MakeRow, text: str
) -> None:
    index.upsert(ORG, STORE, [row("it", text=text)], collection=collection)
    has_words = any(len(word) > 3 for word in text.split())
    assert [hit.id for hit in index.search(ORG, STORE, collection=collection, text=text)] == [
        "it"
    ] * has_words


def test_a_web_address_finds_the_text_with_exactly_that_address(
    index: ChunkIndex, collection: str, row: MakeRow
) -> None:
    texts = {"a": "plant.example/pump?id=1&state=2", "b": "plant.example/pump?id=1&state=3"}
    index.upsert(ORG, STORE, [row(id, text=text) for id, text in texts.items()], collection=collection)
    for id, text in texts.items():
        assert index.search(ORG, STORE, collection=collection, text=text)[0].id == id


def test_a_scan_that_stops_early_returns_its_connection(
    index: ChunkIndex, collection: str, row: MakeRow, pool: ConnectionPool
) -> None:
    index.upsert(ORG, STORE, [row(str(n)) for n in range(10)], collection=collection)
    for _ in range(pool.max_size + 1):
        rows = index.scan(ORG, STORE, collection=collection)
        assert next(rows).id == "0"  # type: ignore[call-overload]
        rows.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"k": 0, "text": "a"},
        {"k": 1_001, "text": "a"},
        {"vector": np.ones(3, np.float32)},
        {"vector": np.full(DIM, np.inf, np.float32)},
        {"vector": np.zeros(DIM, np.float32)},
        {"text": "a\0b"},
        {"text": "\ud800"},
    ],
    ids=["nothing-asked", "k-0", "k-1001", "wrong-dim", "infinite", "zero", "nul", "surrogate"],
)
def test_an_invalid_search_is_refused(index: ChunkIndex, collection: str, wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        index.search(ORG, STORE, collection=collection, **wrong)  # type: ignore[arg-type]


def test_a_bulk_load_stores_the_same_chunks_as_upsert(
    index: ChunkIndex, collection: str, row: MakeRow
) -> None:
    rows = [row(f"{n:04}") for n in range(1_500)]
    assert bulk_load(index, ORG, "loaded", iter(rows), collection=collection) == Written(written=1_500)
    index.upsert(ORG, "upserted", rows, collection=collection)
    assert ids(index, collection, "loaded") == ids(index, collection, "upserted")
