"""Begin spans. While no process-wide recorder is set, a span costs one comparison and records nothing.

``start_tracing`` sets the recorder if ``CLUSTER_TRACING`` is on. A trace is sampled once, where it begins;
inside a trace that is not sampled, no span is recorded.

    with span("stage parse") as parse:
        parse.set({"cluster.pages": 12})
"""

from collections.abc import Mapping, Sequence
from contextvars import Token
from enum import Enum
from types import TracebackType
from typing import Final, Protocol, Self

from cluster.settings import Settings
from cluster.tracing.trace_context import CURRENT, TraceContext

#: A value of an attribute of a span.
AttributeValue = str | bool | int | float | Sequence[str]


class SpanKind(Enum):
    """The role of a span, by the name that OpenTelemetry gives it."""

    #: Work inside a process.
    INTERNAL = "INTERNAL"
    #: The answer to a request of another process.
    SERVER = "SERVER"
    #: A request to another process.
    CLIENT = "CLIENT"
    #: Work on a job that another process has queued.
    CONSUMER = "CONSUMER"


INTERNAL, SERVER, CLIENT, CONSUMER = (
    SpanKind.INTERNAL,
    SpanKind.SERVER,
    SpanKind.CLIENT,
    SpanKind.CONSUMER,
)


class RunningSpan(Protocol):
    """A span that a recorder has begun."""

    context: TraceContext

    def set(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set attributes."""

    def rename(self, name: str) -> None:
        """Replace the name."""

    def fail(self, reason: str) -> None:
        """Mark the span as failed, with a short word for programs."""

    def end(self) -> None:
        """End the span, and hand it to the exporter."""


class SpanRecorder(Protocol):
    """Begins spans and sends them away (``cluster.tracing.exporting``)."""

    def begin(self, name: str, kind: SpanKind, parent: TraceContext) -> RunningSpan:
        """Begin a span of a sampled trace."""

    def begin_sampled(
        self, name: str, kind: SpanKind, parent: TraceContext | None, trace_id: str
    ) -> RunningSpan | None:
        """Begin the first span of this process in a trace; None if the trace is not sampled."""

    def flush(self) -> None:
        """Send all ended spans now."""


class Span:
    """A block of work. Its methods do nothing if it is not recorded.

    Args:
        running: the span of the recorder; None if the span is not recorded.
        context: the position that is current inside the block; None: the current position stays.
    """

    __slots__ = ("_running", "_token", "context")

    def __init__(self, running: RunningSpan | None, context: TraceContext | None) -> None:
        self._running = running
        self.context: Final = context
        self._token: Token[TraceContext | None] | None = None

    @property
    def recorded(self) -> bool:
        """True if the span is recorded. Compute costly attributes only then."""
        return self._running is not None

    @property
    def position(self) -> TraceContext | None:
        """The position that a called process continues; None if the span is not recorded."""
        return None if self._running is None else self._running.context

    def set(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set attributes."""
        if self._running is not None:
            self._running.set(attributes)

    def rename(self, name: str) -> None:
        """Replace the name."""
        if self._running is not None:
            self._running.rename(name)

    def fail(self, reason: str) -> None:
        """Mark the span as failed, with a short word for programs, such as the name of an exception."""
        if self._running is not None:
            self._running.fail(reason)

    def end(self) -> None:
        """End the span. Blocks of ``with`` do this."""
        if self._running is not None:
            self._running.end()

    def __enter__(self) -> Self:
        if self.context is not None:
            self._token = CURRENT.set(self.context)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            CURRENT.reset(self._token)
        if self._running is not None:
            if kind is not None:
                self._running.fail(kind.__name__)  # the message may hold text of a document
            self._running.end()


#: Every span that is not recorded and that changes no position.
UNRECORDED = Span(None, None)
_recorder: SpanRecorder | None = None


def span(name: str, kind: SpanKind = INTERNAL) -> Span:
    """Begin a span inside the current trace. It is the parent of the spans that begin inside its block."""
    running = _begin(name, kind)
    return UNRECORDED if running is None else Span(running, running.context)


def detached_span(name: str, kind: SpanKind = INTERNAL) -> Span:
    """Begin a span that does not change the current position, and that the caller ends.

    Use it in asynchronous generators, because each step of a generator may run in another context.
    """
    running = _begin(name, kind)
    return UNRECORDED if running is None else Span(running, None)


def continued_trace(name: str, kind: SpanKind, parent: TraceContext | None) -> Span:
    """Begin this process's part of a trace: a request or a job. Inside the block, ``current_trace`` is set,
    also if nothing is recorded.

    Args:
        parent: the position in another process; None begins a new trace.
    """
    context = parent or TraceContext.new()
    if not context.span_id:
        parent, context = None, TraceContext(context.trace_id, TraceContext.new().span_id)
    if _recorder is None:
        # W3C Trace Context: a program that records nothing passes the position on unchanged.
        return Span(None, context)
    running = _recorder.begin_sampled(name, kind, parent, context.trace_id)
    if running is None:
        return Span(None, TraceContext(context.trace_id, context.span_id))
    return Span(running, running.context)


def trace_argument() -> dict[str, str]:
    """Return the keyword argument with the current position, for a call to a method of another process."""
    context = CURRENT.get()
    return {} if context is None else {"traceparent": context.traceparent}


def start_tracing(settings: Settings, *, process: str) -> None:
    """Record the spans of this process from now on, if ``CLUSTER_TRACING`` is on.

    Args:
        process: the part of the cluster that this process is, such as ``worker``.

    Raises:
        Misconfigured: the extra ``tracing`` is not installed, or a variable ``OTEL_*`` is wrong.
    """
    global _recorder
    if settings.tracing and _recorder is None:
        from cluster.tracing.exporting import open_recorder  # noqa: PLC0415  an extra

        _recorder = open_recorder(process)


def flush_spans() -> None:
    """Send all ended spans now. A process that ends calls this, because Ray may kill it without notice."""
    if _recorder is not None:
        _recorder.flush()


def _begin(name: str, kind: SpanKind) -> RunningSpan | None:
    if _recorder is None:
        return None
    parent = CURRENT.get()
    return _recorder.begin(name, kind, parent) if parent is not None and parent.sampled else None
