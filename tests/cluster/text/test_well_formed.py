"""Any value can be written as JSON for responses and log lines."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.text.well_formed import json_bytes, well_formed

TEXT = st.text(st.characters(codec=None), max_size=9)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_any_value_becomes_json_that_strict_parsers_read(value: object) -> None:
    json.loads(json_bytes(value).decode("utf-8", errors="strict"), parse_constant=pytest.fail)


@given(TEXT)
def test_text_keeps_all_but_halves_of_surrogate_pairs(text: str) -> None:
    expected = "".join("\ufffd" if "\ud800" <= one <= "\udfff" else one for one in text)
    if not any("\ud800" <= one <= "\udbff" and "\udc00" <= two <= "\udfff" for one, two in pairwise(text)):
        assert well_formed(text) == expected
    well_formed(text).encode()


def test_arrays_beside_odd_text_are_written_as_usual() -> None:
    vectors = np.array([[0.1, 0.2]], np.float32)
    odd, plain = (json_bytes({"texts": [text], "vectors": vectors}) for text in ("\ud800", "a"))
    assert odd.replace(b"\xef\xbf\xbd", b"a") == plain


def test_a_value_that_json_lacks_is_an_error_or_converted_by_default() -> None:
    with pytest.raises(TypeError):
        json_bytes({"a": object()})
    assert json_bytes({"a": {1}, "b": "\ud800"}, default=repr) == b'{"a":"{1}","b":"\xef\xbf\xbd"}'
