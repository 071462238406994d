"""Read, write and keep the position in a trace, in the format of W3C Trace Context.

    context = TraceContext.parse(header) or TraceContext.new()
    with in_trace(context):
        current_trace().traceparent     # "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"

https://www.w3.org/TR/trace-context-1/#traceparent-header
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Self

#: Name of the header and of the column of ``jobs`` that contain a position in a trace.
TRACEPARENT = "traceparent"
#: The version, the trace id, the span id, the flags, and the fields that versions above 00 can add.
PATTERN = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
TRACE_ID_DIGITS, SPAN_ID_DIGITS = 32, 16
TRACE_ID = re.compile(r"[0-9a-f]{32}")
SAMPLED_FLAG = 1


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A position in a trace: the trace, and the span that is the parent of the next span."""

    #: Id of the trace, 32 hexadecimal digits.
    trace_id: str
    #: Id of the span, 16 hexadecimal digits; empty if the trace has no span yet.
    span_id: str
    #: True if the spans of this trace are recorded.
    sampled: bool = False

    @classmethod
    def new(cls) -> Self:
        """Return a position in a new trace with random ids. The trace is not recorded."""
        digits = os.urandom((TRACE_ID_DIGITS + SPAN_ID_DIGITS) // 2).hex()
        return cls(digits[:TRACE_ID_DIGITS], digits[TRACE_ID_DIGITS:])

    @classmethod
    def parse(cls, traceparent: str | None) -> Self | None:
        """Read the value of a ``traceparent`` header. Return None if there is no value, or if the value is
        not valid. By the specification, the program must then begin a new trace.
        """
        found = PATTERN.fullmatch(traceparent) if traceparent else None
        if found is None:
            return None
        version, trace_id, span_id, flags, rest = found.groups()
        if version == "ff" or (version == "00" and rest) or not int(trace_id, 16) or not int(span_id, 16):
            return None
        return cls(trace_id, span_id, bool(int(flags, 16) & SAMPLED_FLAG))

    @classmethod
    def of_work(cls, position: str | None) -> Self | None:
        """Read a result of ``position_of_work``. Return None if the argument is None or not valid."""
        if position is not None and TRACE_ID.fullmatch(position):
            return cls(position, "")
        return cls.parse(position)

    @property
    def traceparent(self) -> str:
        """The position as the value of a ``traceparent`` header."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


#: The position of the current task or thread. ``ContextThreads`` copies the position to its threads.
CURRENT: ContextVar[TraceContext | None] = ContextVar("trace", default=None)


def current_trace() -> TraceContext | None:
    """Return the position of the current task or thread; None outside of requests and jobs."""
    return CURRENT.get()


def position_of_work() -> str:
    """Return the position in a trace for work that another process does later, as a ``traceparent``.

    Outside of requests and jobs, each piece of work gets a trace of its own, and the result is only the id of
    this new trace. Then the process that begins the work decides whether the trace is recorded.
    """
    context = CURRENT.get()
    return TraceContext.new().trace_id if context is None else context.traceparent


@contextmanager
def in_trace(context: TraceContext | None) -> Iterator[None]:
    """Make ``context`` the current position inside the block, without a new span. None: no position."""
    token = CURRENT.set(context)
    try:
        yield
    finally:
        CURRENT.reset(token)
