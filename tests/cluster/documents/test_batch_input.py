"""The input file of a batch is checked line by line, in memory that does not grow with the file."""

import io
import json
import tracemalloc
from typing import Any

import pytest

from cluster.documents.batches import batch_input
from cluster.documents.batches.batch_input import CheckedInput, check_input, read_requests

MAX_LINE_BYTES = 10_000


def line(id: str, input: Any = "a text") -> bytes:
    body = {"model": "m", "input": input}
    return json.dumps(
        {"custom_id": id, "method": "POST", "url": "/v1/embeddings", "body": body}, ensure_ascii=False
    ).encode()


def checked(data: bytes) -> CheckedInput:
    return check_input(io.BytesIO(data), max_line_bytes=MAX_LINE_BYTES)


def errors(data: bytes) -> list[tuple[int | None, str]]:
    return [(error.line, error.code) for error in checked(data).errors]


def test_lines_end_as_any_editor_ends_them() -> None:
    data = b"\xef\xbb\xbf" + line("a") + b"\r\n\r\n  \n" + line("é") + b"\n" + line("c")
    assert checked(data) == CheckedInput(requests=3, errors=[])
    found = list(read_requests(io.BytesIO(data), first_line=2, max_line_bytes=MAX_LINE_BYTES))
    assert [(request.number, request.custom_id) for request in found] == [(4, "é"), (5, "c")]
    assert found[0].data == line("é")


def test_each_wrong_line_is_named_once() -> None:
    long = line("long", "x" * MAX_LINE_BYTES)
    data = [line("a"), long, line("a"), b'{"custom_id": "\xff"}', b"NaN", line("x" * 513), long, line("a")]
    assert errors(b"\n".join(data)) == [
        (2, "line_too_long"),
        (3, "duplicate_custom_id"),
        (4, "invalid_json_line"),
        (5, "invalid_json_line"),
        (6, "invalid_custom_id"),
        (7, "line_too_long"),
        (8, "duplicate_custom_id"),
    ]


def test_a_custom_id_that_cannot_be_written_is_refused() -> None:
    half = line("half").replace(b"half", rb"\ud800")
    assert errors(half) == [(1, "invalid_custom_id")]


def test_a_line_of_nothing_but_brackets_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_input, "MAX_CONTAINERS", 100)
    assert errors(line("a", [[]] * 101)) == [(1, "line_too_long")]


def test_the_limits_of_a_batch_are_those_of_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (batch_input.MAX_REQUESTS, batch_input.MAX_INPUTS) == (50_000, 50_000)
    assert batch_input.MAX_FILE_BYTES == 200_000_000
    monkeypatch.setattr(batch_input, "MAX_REQUESTS", 3)
    monkeypatch.setattr(batch_input, "MAX_INPUTS", 5)
    three = b"\n".join([line("a", ["x", "y"]), line("b", [1, 2, 3]), line("c", [[1], [2]])])
    assert checked(three) == CheckedInput(requests=3, errors=[])
    assert errors(three + b"\n" + line("d")) == [(None, "too_many_tasks")]
    assert errors(line("a", ["x"] * 6)) == [(None, "too_many_inputs")]
    assert errors(b"") == [(None, "empty_file")]


def test_a_file_of_errors_names_the_first_thousand() -> None:
    assert errors(b"{\n" * 2_000) == [(number, "invalid_json_line") for number in range(1, 1_001)]


def test_memory_does_not_grow_with_the_file() -> None:
    def peak(count: int) -> int:
        data = io.BytesIO(b"\n".join(line(f"{number}", "x" * 500) for number in range(count)))
        tracemalloc.start()
        check_input(data, max_line_bytes=MAX_LINE_BYTES)
        data.seek(0)
        for _ in read_requests(data, first_line=1, max_line_bytes=MAX_LINE_BYTES):
            pass
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return found

    # For each line, the check keeps 20 bytes: the hash of the custom_id, and the number of the line. It needs
    # some more bytes to sort them.
    assert peak(10_000) - peak(1_000) < 9_000 * 80
