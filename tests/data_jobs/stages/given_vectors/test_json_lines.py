"""JSON lines whose vectors are cut out: the same rows and the same faults as with a parser of whole lines."""

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from cluster.documents.given_vectors.given_rows import RowChecker
from data_jobs.stages.given_vectors.frames import read_frame
from data_jobs.stages.given_vectors.json_lines import json_line_parts, json_value
from data_jobs.stages.given_vectors.reader_process import main

DIM = 2
GOOD = b'{"id":"%d","vector":[0.6,0.8]}'
NUMBERS = (
    *("0.6", "-1", "0", "-0", "1E2", "2.5e-3", " 7 ", "3.5e39", "1e200", "5e-324", "9007199254740993"),
    *("18446744073709551615", "18446744073709551616", "123456789012345678901234567890", "1e400"),
    *("NaN", "Infinity", "-Infinity", "null", "true", '"1"', '"]"', "[1]", "[1,2]", "{}", "01", "1.", "+1"),
    *(".5", "", "0x1", "1 2", '"', "]", "[", '"vector":[1,2]'),
)
VECTORS = some.one_of(
    some.lists(some.floats(allow_nan=False).map(repr), min_size=DIM, max_size=DIM),
    some.lists(some.sampled_from(NUMBERS), max_size=DIM + 1),
).map(lambda numbers: f"[{','.join(numbers)}]")
OTHERS = some.sampled_from(
    (
        *('"a"', '""', "null", "1", "{}", "[]", '"vector"', r'"\"vector\":[1,2]"', r'"\ud800"', r'"\u0000"'),
        *('{"vector":[1,2]}', '{"vector":1}', '{"a":"]"}', '{"a":{"vector":[1,2]}}', '"é"', '"],"', '"[1,2"'),
    )
)
FIELDS = some.one_of(
    some.tuples(some.sampled_from(('"vector"', '"vector"', r'"\u0076ector"')), VECTORS),
    some.tuples(some.sampled_from(('"vector"', '"id"', '"text"', '"attributes"', '"title"')), OTHERS),
)
LINES = some.builds(
    lambda fields, form, colon, comma: (form % comma.join(map(colon.join, fields))).encode(),
    some.lists(FIELDS, min_size=1, max_size=5),
    some.sampled_from(
        ("{%s}", '{"id":"b",%s}', "  {%s}\r", "{%s", "%s}", "[{%s}]", "{%s}}", "{%s,}", "\ufeff{%s}")
    ),
    some.sampled_from((":", ": ", " :", ":  ")),
    some.sampled_from((",", ", ")),
)


@given(line=LINES, before=some.integers(0, 2), after=some.integers(0, 2))
@settings(max_examples=400)
def test_every_line_gives_the_row_or_fault_that_a_parser_of_whole_lines_gives(
    line: bytes, before: int, after: int
) -> None:
    lines = [
        *(GOOD % number for number in range(before)),
        line,
        *(GOOD % (9 - number) for number in range(after)),
    ]
    values = [
        (number, json_value(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line))
        for number, line in enumerate(lines, start=1)
    ]
    rows, faults = RowChecker(DIM).check(values)

    pipe = io.BytesIO()
    main(io.BytesIO(b"\n".join(lines)), pipe, DIM, 100)
    pipe.seek(0)
    found = read_frame(pipe, dim=DIM, most=100)

    assert found is not None
    assert list(found.faults) == faults
    for column in ("numbers", "ids", "texts", "attributes"):
        assert list(getattr(found.rows, column)) == list(getattr(rows, column))
    if len(rows):
        np.testing.assert_array_equal(found.rows.vectors, rows.vectors)


@pytest.mark.parametrize("dumps", [orjson.dumps, lambda row: json.dumps(row).encode()])
def test_no_python_object_is_made_for_the_numbers_of_ordinary_lines(
    dumps: Callable[[Any], bytes],
) -> None:
    given = [{"id": str(number), "text": "é", "vector": [number, 1.5, -2e-9]} for number in range(7)]
    file = io.BytesIO(b"\n\n".join(map(dumps, given)))

    parts = [*json_line_parts(file, 5)]

    assert [[number for number, _ in part.rows] for part in parts] == [[1, 3, 5, 7, 9], [11, 13]]
    matrices = [part.vectors for part in parts if part.vectors is not None]
    np.testing.assert_array_equal(np.concatenate(matrices), [row["vector"] for row in given])
