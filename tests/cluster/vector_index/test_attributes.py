"""System attributes, facts and owner attributes are merged into one set and can be read back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.records import Fact
from cluster.vector_index.attributes import (
    CONTEXT_CHARACTERS,
    FACTS,
    HIDDEN,
    LISTED,
    SOME_CHUNKS,
    SYSTEM,
    context_of,
    merged_attributes,
    owner_attributes,
    page_text,
    reading_facts,
    system_attributes,
    with_owner_attributes,
)
from cluster.vector_index.filters import MAX_KEY_LENGTH

NAMES = st.sampled_from([*sorted(SYSTEM - {"file_id"}), *Fact, *SOME_CHUNKS, "plant", "year"])
VALUES = st.one_of(st.integers(), st.text(), st.booleans())
OWNS = st.fixed_dictionaries(
    dict.fromkeys(sorted(SYSTEM - {"file_id"}), VALUES), optional=dict.fromkeys(SOME_CHUNKS, st.text())
)


def test_filters_cannot_name_the_keys_of_hidden_values() -> None:
    assert not SYSTEM & set(Fact)
    assert not set(SOME_CHUNKS) & {*SYSTEM, *Fact}
    assert min(len(HIDDEN), len(FACTS), len(LISTED)) > MAX_KEY_LENGTH


@given(
    OWNS,
    st.dictionaries(st.sampled_from(list(Fact)), VALUES),
    st.dictionaries(NAMES, VALUES),
    st.dictionaries(NAMES, VALUES),
)
def test_each_group_of_attributes_can_be_read_back(
    own: dict[str, Any], facts: dict[Fact, Any], owners: dict[str, Any], later: dict[str, Any]
) -> None:
    row = merged_attributes(own, owners, facts=facts, file="file-1")
    for said, row_now in ((owners, row), (later, with_owner_attributes(row, later))):
        assert system_attributes(row_now) == {**own, "file_id": "file-1"}
        assert reading_facts(row_now) == facts
        assert owner_attributes(row_now) == said
        assert {name: row_now[name] for name in {**facts, **said}} == {**facts, **said}


@pytest.mark.parametrize("facts", [{}, {Fact.ENCODING: "koi8-r"}])
def test_an_ingested_document_shows_its_facts_as_attributes(facts: dict[Fact, Any]) -> None:
    own = {"page": 1, "heading": "Birds"}
    assert owner_attributes(merged_attributes(own, facts=facts)) == {**own, **facts}


def test_an_old_chunk_keeps_an_owner_attribute_with_the_name_of_a_fact() -> None:
    row = {"page": 1, "encoding": "mine", "file_id": "file-1"}
    assert (reading_facts(row), owner_attributes(row)) == ({}, {"encoding": "mine"})


def test_an_old_chunk_keeps_an_owner_attribute_with_the_name_of_a_place() -> None:
    row = {"page": 1, "heading": "mine", "file_id": "file-1"}
    assert system_attributes(row) == {"page": 1, "file_id": "file-1"}
    assert owner_attributes(row) == {"heading": "mine"}
    assert owner_attributes(with_owner_attributes(row, {"heading": "theirs"})) == {"heading": "theirs"}


@pytest.mark.parametrize(
    ("length", "context", "text"),
    [(5, "head", "body"), (0, "", "head\nbody"), (-3, "", "head\nbody"), ("5", "", "head\nbody")],
)
def test_a_text_is_divided_into_its_context_and_the_text_of_the_page(
    length: Any, context: str, text: str
) -> None:
    row = merged_attributes({"page": 1, CONTEXT_CHARACTERS: length}, {CONTEXT_CHARACTERS: 2}, file="file-1")
    assert (context_of("head\nbody", row), page_text("head\nbody", row)) == (context, text)
