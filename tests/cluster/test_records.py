"""Ids are the same on every machine, and different things have different ids."""

from cluster.records import chunk_id, document_id


def test_ids_depend_on_every_part_and_on_nothing_else() -> None:
    ids = {
        document_id("a", "b", "c"),
        document_id("ab", "", "c"),
        document_id("a", "bc", ""),
        document_id("b", "a", "c"),
    }
    assert len(ids) == 4
    assert document_id("a", "b", "c") == document_id("a", "b", "c") == "doc_c74320455b3608ef2f9f8a61"


def test_equal_chunks_of_a_document_have_different_ids() -> None:
    assert (
        len(
            {
                chunk_id("doc", "text", 0, "m"),
                chunk_id("doc", "text", 1, "m"),
                chunk_id("doc", "text", 0, "n"),
            }
        )
        == 3
    )
