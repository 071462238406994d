"""Ids are the same on every machine, and different things have different ids."""

import pytest

from cluster.records import PUBLIC_ERRORS, Outcome, PublicError, chunk_id, document_id, public_error


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


def test_every_outcome_has_its_public_error() -> None:
    assert set(PUBLIC_ERRORS) == set(Outcome)
    assert {outcome for outcome in Outcome if outcome.public_error is None} == {
        outcome for outcome in Outcome if outcome.searchable
    }


@pytest.mark.parametrize(
    ("code", "public"),
    [
        ("unsupported", PublicError.UNSUPPORTED_FILE),
        ("needs_ocr", PublicError.INVALID_FILE),
        ("needs_browser", PublicError.INVALID_FILE),
        ("timeout", PublicError.SERVER_ERROR),
        ("worker_lost", PublicError.SERVER_ERROR),
        (None, PublicError.SERVER_ERROR),
    ],
)
def test_the_error_code_of_a_job_has_a_public_code(code: str | None, public: PublicError) -> None:
    assert public_error(code) == public
