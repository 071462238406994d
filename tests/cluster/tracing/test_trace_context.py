"""Trace ids are read and written as W3C Trace Context defines them."""

import pytest

from cluster.tracing import TraceContext, current_trace, in_trace, position_of_work

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_the_example_of_the_specification_is_read_and_written() -> None:
    read = TraceContext.parse(f"00-{TRACE}-{PARENT}-01")

    assert read == TraceContext(TRACE, PARENT, True)
    assert read.traceparent == f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{PARENT}-00", False),
        (f"00-{TRACE}-{PARENT}-03", True),  # also the flag of random ids, of level 2
        (f"cc-{TRACE}-{PARENT}-01-what-a-later-version-adds", True),
    ],
)
def test_flags_and_later_versions_are_read(header: str, sampled: bool) -> None:
    assert TraceContext.parse(header) == TraceContext(TRACE, PARENT, sampled)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}-01\n",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE[:-1]}-{PARENT}-01",
    ],
)
def test_a_header_that_is_not_valid_counts_as_none(header: str | None) -> None:
    assert TraceContext.parse(header) is None


def test_work_for_later_is_in_the_current_trace_or_in_a_new_one() -> None:
    with in_trace(TraceContext(TRACE, PARENT)):
        assert position_of_work() == f"00-{TRACE}-{PARENT}-00"
    assert current_trace() is None
    first, second = position_of_work(), position_of_work()
    assert first != second
    begins = TraceContext.of_work(first)
    assert begins == TraceContext(first, "")
    assert TraceContext.of_work(f"00-{TRACE}-{PARENT}-01") == TraceContext(TRACE, PARENT, True)
    assert TraceContext.of_work(None) is TraceContext.of_work("nonsense") is None
