"""Log lines of every process have one form, and name their process, job, organisation, stage and trace."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import logging, structlog
from cluster.logs import about, configure
from cluster.settings import Settings
from cluster.tracing import TraceContext, in_trace
configure(Settings(log_format="{form}"), process="worker")
where = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
with in_trace(where), about(job="job_1", organisation="default", kind="index_file", stage="parse"):
    structlog.get_logger("ours").warning("document_refused", document="doc_1")
    logging.getLogger("a.library").warning("of a %s", "library")
    try:
        value = "a customer's " + "text"
        value / 0
    except TypeError:
        structlog.get_logger("ours").exception("stage_failed")
structlog.get_logger("ours").debug("not asked for")
structlog.get_logger("ours").warning("odd", path="/v1/\\ud800", number=2**70, of={{1: "\\udfff"}})
"""


def lines(form: str) -> list[str]:
    """Run the program, and return its lines on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(form=form)], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_json_lines_carry_the_fields_of_their_block() -> None:
    ours, library, failure, _ = map(json.loads, lines("json"))
    for line in (ours, library, failure):
        assert (line["job"], line["organisation"], line["stage"]) == ("job_1", "default", "parse")
        assert line["timestamp"].endswith("Z")
        assert (line["process"], line["kind"]) == ("worker", "index_file")
        assert isinstance(line["pid"], int)
        assert line["trace"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert (ours["event"], ours["document"], ours["level"]) == ("document_refused", "doc_1", "warning")
    assert (library["event"], library["logger"]) == ("of a library", "a.library")
    assert "TypeError" in failure["exception"]


def test_a_line_with_odd_values_is_written() -> None:
    odd = json.loads(lines("json")[-1])
    assert (odd["event"], odd["path"], odd["number"], odd["of"]) == (
        "odd",
        "/v1/\ufffd",
        2**70,
        {"1": "\ufffd"},
    )
    assert "odd" in lines("console")[-1]


def test_the_console_format_is_for_people() -> None:
    first = lines("console")[0]
    assert "document_refused" in first
    assert not first.startswith("{")
    assert "process=worker" in first
    assert "trace=4bf92f3577b34da6a3ce929d0e0e4736" in first


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_values_of_variables(form: str) -> None:
    # A value may be a document. To print the values of a worker took a minute, in which it ran no job.
    printed = "\n".join(lines(form))
    assert "TypeError" in printed
    assert "customer's text" not in printed
