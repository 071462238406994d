"""Requests to Pinecone hold nearly as many rows as 2 MB allow, and never more bytes than they count."""

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cluster.vector_index.contract import VectorRecord
from cluster.vector_index.pinecone.batches import MAX_BYTES, MAX_ROWS, batches, numbers_of
from cluster.vector_index.pinecone.ids import chunk_id, pinecone_id
from cluster.vector_index.pinecone.index import PineconeIndex

FLOATS = st.floats(-65_504, 65_504, width=32)


def records(count: int, dim: int, **attributes: object) -> list[VectorRecord]:
    vectors = np.random.default_rng(0).normal(size=(count, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        VectorRecord(
            id=f"chk_{i:032x}", attributes={"page": i, "source": "a.pdf", **attributes}, vector=vector
        )
        for i, vector in enumerate(vectors)
    ]


@given(arrays(np.float32, 8, elements=FLOATS))
def test_numbers_are_the_shortest_that_mean_the_same_float32(vector: np.ndarray) -> None:
    sent = numbers_of(vector)
    assert np.array_equal(np.array(orjson.loads(orjson.dumps(sent)), np.float32), vector)
    shortest = [len(np.format_float_scientific(one, unique=True, trim="-", exp_digits=1)) for one in vector]
    assert all(len(repr(number)) <= most + 7 for number, most in zip(sent, shortest, strict=True))


@pytest.mark.parametrize("dim", [8, 384, 1_536, 3_072])
def test_a_full_write_sends_at_least_0_9_of_the_rows_that_its_requests_can_hold(dim: int) -> None:
    rows = records(PineconeIndex.capabilities.rows_at_once(dim), dim)
    made = list(batches(rows))
    assert [id for batch in made for id in batch.ids] == [record.id for record in rows]
    for batch in made:
        body = orjson.dumps({"vectors": batch.vectors, "namespace": "n" * 512})
        assert len(body) <= batch.bytes <= MAX_BYTES
    body_of_a_row = len(orjson.dumps(made[0].vectors)) / len(made[0].vectors)
    possible = min(MAX_ROWS, MAX_BYTES / body_of_a_row)
    assert all(len(batch.vectors) >= 0.99 * possible for batch in made[:-1])
    assert len(rows) / len(made) >= 0.9 * possible
    float64 = len(orjson.dumps([float(number) for number in rows[0].vector]))
    assert float64 / len(orjson.dumps(numbers_of(rows[0].vector))) > 1.5


def test_a_request_has_at_most_a_thousand_rows_and_an_oversized_row_is_alone() -> None:
    assert [len(batch.vectors) for batch in batches(records(2_100, 2))] == [MAX_ROWS, MAX_ROWS, 100]
    assert [len(batch.vectors) for batch in batches(records(3, 100), max_bytes=700)] == [1, 1, 1]


def test_halves_of_a_batch_have_all_its_rows_and_bytes() -> None:
    (batch,) = batches(records(5, 10))
    first, second = batch.halves()
    assert [*first.ids, *second.ids] == batch.ids
    for half in (first, second):
        assert half.bytes == next(iter(batches([r for r in records(5, 10) if r.id in half.ids]))).bytes


@given(st.text(max_size=40))
def test_any_id_has_a_form_that_pinecone_accepts_and_comes_back(id: str) -> None:
    stored = pinecone_id(id)
    assert chunk_id(stored) == id
    assert all("!" <= character <= "~" for character in stored)
    assert pinecone_id("chk_0f/é") == "chk_0f/%C3%A9"
