"""The search for keys in what the suite wrote finds a key wherever it is."""

from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from tests.keys_in_output import (
    MARK,
    files_with_a_key,
    marked_fernet_key,
    marked_key,
    pytest_runtest_makereport,
    tables_with_a_key,
)


def test_a_key_in_a_log_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "logs" / "ray").mkdir(parents=True)
    (tmp_path / "logs" / "ray" / "worker.err").write_text(f"line\nsent {marked_key('sk-')}\n")
    (tmp_path / "logs" / "other").write_text("nothing")

    assert files_with_a_key(tmp_path) == [tmp_path / "logs" / "ray" / "worker.err"]


def test_a_key_in_a_record_is_found(connection: Connection[Any], organisation: str) -> None:
    assert tables_with_a_key(connection) == []
    with connection.transaction(force_rollback=True):
        connection.execute("UPDATE organisations SET name = %s WHERE id = %s", [marked_key(""), organisation])
        assert tables_with_a_key(connection) == ["organisations"]


def test_every_secret_of_the_tests_has_the_mark() -> None:
    assert MARK in marked_key("sk-")
    assert MARK in marked_fernet_key()


@pytest.mark.parametrize(
    ("text", "passed"), [(f"sent {MARK}", False), ("sent a request", True)], ids=["key", "none"]
)
def test_a_test_that_prints_a_key_fails(request: pytest.FixtureRequest, text: str, passed: bool) -> None:
    call = pytest.CallInfo.from_call(lambda: None, "teardown")
    report = pytest.TestReport.from_item_and_call(request.node, call)
    report.sections.append(("Captured stderr call", text))
    hook = pytest_runtest_makereport(request.node, call)
    next(hook)

    with pytest.raises(StopIteration) as returned:
        hook.send(report)

    assert returned.value.value.passed is passed
