"""Rows of given vectors are checked many at once, with the same result as one by one."""

import math
from typing import Any

import numpy as np
import pytest

from cluster.documents.given_vectors.given_rows import RowChecker

#: Values of each field by the kind of their fault; the values under None have no fault.
VALUES: dict[str, dict[str | None, list[Any]]] = {
    "id": {None: ["ä 1", "a" * 512], "id": ["", None, 7, "x" * 513, "a\0", "\ud800"]},
    "vector": {
        None: [[3, 4], [3.0, 2**70]],
        "dimension": [None, [1.0], [True, True], ["1", "2"], [[1.0], 2.0], {}],
        "not_finite": [[None, 1.0], [math.nan, 1.0], [1e200, 1e200]],
        "zero_length": [[0, 0.0]],
    },
    "text": {None: ["", None, "words"], "text": [0, [], "a\0", "x" * 300_000]},
    "attributes": {
        None: [None, {"a": 1, "b": "x", "c": True, "d": 1.5, "e": None}, {"n": 2**70}],
        "attributes": [
            *([], False, {"a": []}, {"": 1}, {"a": "x" * 513}, {"a": "\0"}, {"a": math.inf}),
            {str(number): number for number in range(17)},
        ],
    },
}


@pytest.mark.parametrize("field", VALUES)
def test_a_fault_is_found_in_any_company(field: str) -> None:
    for kind, value in ((kind, value) for kind, values in VALUES[field].items() for value in values):
        row = {"id": "a", "vector": [1.0, 0.0], field: value}
        others = [{"id": f"row-{number}", "vector": [0.0, 1.0]} for number in range(3)]
        for company in ([], others, [*others, {}]):  # the last company makes the checker check row by row
            rows, faults = RowChecker(2).check(enumerate([row, *company], start=1))
            assert [fault.kind for fault in faults if fault.row == 1] == ([kind] if kind else []), value
            assert list(rows.numbers) == [1, 2, 3, 4][bool(kind) : 1 + min(3, len(company))]
            if not kind:
                assert rows.attributes[0] == {
                    name: float(one) if one == 2**70 else one
                    for name, one in (row.get("attributes") or {}).items()
                    if one is not None
                }
                given = np.array(row["vector"], dtype=np.float64)
                np.testing.assert_allclose(rows.vectors[0], given / np.linalg.norm(given), rtol=1e-6)


def test_ids_that_occur_twice_and_unknown_fields_are_found_in_any_company() -> None:
    rows = [{"id": "a", "vector": [1.0, 0.0], "title": "x"}, {"id": "a", "vector": [0.0, 2.0]}]
    for company in ([], [{}]):
        checker = RowChecker(2)
        _, faults = checker.check(enumerate([*rows, *company], start=1))
        assert (faults[0].row, faults[0].kind) == (2, "duplicate_id")
        assert checker.ignored == {"title"}
