"""Begin spans. While this process has no recorder, ``span`` costs one comparison and records nothing.

``start_tracing`` sets the recorder if ``CLUSTER_TRACING`` is on. The process in which a trace begins decides
whether the trace is recorded (sampled). Inside a trace that is not sampled, no span is recorded.

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
    """The role of a span. The values are OpenTelemetry's names of the roles."""

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
        """Set attributes of the span."""

    def rename(self, name: str) -> None:
        """Replace the name of the span."""

    def fail(self, reason: str) -> None:
        """Mark the span as failed. The reason is a short word for programs."""

    def end(self) -> None:
        """End the span, and hand it to the exporter."""


class SpanRecorder(Protocol):
    """Begins spans, and sends ended spans to the collector (``cluster.tracing.exporting``)."""

    def begin(self, name: str, kind: SpanKind, parent: TraceContext) -> RunningSpan:
        """Begin a span inside a sampled trace. ``parent`` is a span of the same process."""

    def begin_sampled(
        self, name: str, kind: SpanKind, parent: TraceContext | None, trace_id: str
    ) -> RunningSpan | None:
        """Begin the first span of this process in a trace; None if the trace is not sampled. ``parent`` is a
        span of another process; None if the trace begins here.
        """

    def flush(self) -> None:
        """Send all ended spans now."""


class Span:
    """A block of work, which is recorded or not. If the span is not recorded, its methods record nothing.

    Args:
        running: the span of the recorder; None if the span is not recorded.
        context: the position that is current inside the block; None if the block does not change it.
    """

    __slots__ = ("_running", "_token", "context")

    def __init__(self, running: RunningSpan | None, context: TraceContext | None) -> None:
        self._running = running
        self.context: Final = context
        self._token: Token[TraceContext | None] | None = None

    @property
    def recorded(self) -> bool:
        """True if the span is recorded. Compute costly attributes only if this is true."""
        return self._running is not None

    @property
    def position(self) -> TraceContext | None:
        """The position to pass to a process that this span calls; None if the span is not recorded."""
        return None if self._running is None else self._running.context

    def set(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set attributes of the span."""
        if self._running is not None:
            self._running.set(attributes)

    def rename(self, name: str) -> None:
        """Replace the name of the span."""
        if self._running is not None:
            self._running.rename(name)

    def fail(self, reason: str) -> None:
        """Mark the span as failed. The reason is a word for programs, such as the name of an exception."""
        if self._running is not None:
            self._running.fail(reason)

    def end(self) -> None:
        """End the span. The end of a ``with`` block also ends the span."""
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
                self._running.fail(kind.__name__)  # no message, because it can contain text of a document
            self._running.end()


#: The only object for all spans that are not recorded and do not change the current position.
UNRECORDED = Span(None, None)
_recorder: SpanRecorder | None = None


def span(name: str, kind: SpanKind = INTERNAL) -> Span:
    """Begin a span inside the current trace. Spans that begin inside its ``with`` block are its children."""
    running = _begin(name, kind)
    return UNRECORDED if running is None else Span(running, running.context)


def detached_span(name: str, kind: SpanKind = INTERNAL) -> Span:
    """Begin a span that does not change the current position. The caller ends the span.

    Use this function in asynchronous generators, because each step of a generator can run in another context.
    """
    running = _begin(name, kind)
    return UNRECORDED if running is None else Span(running, None)


def continued_trace(name: str, kind: SpanKind, parent: TraceContext | None) -> Span:
    """Begin the first span of this process in a trace, for a request or a job. Inside the block,
    ``current_trace`` returns a position, also if nothing is recorded.

    Args:
        parent: the position of the other process; None begins a new trace. If the position has no span, the
            trace of the position begins here.
    """
    context = parent or TraceContext.new()
    if not context.span_id:
        parent, context = None, TraceContext(context.trace_id, TraceContext.new().span_id)
    if _recorder is None:
        # By W3C Trace Context, a program that records nothing passes on the position without a change.
        return Span(None, context)
    running = _recorder.begin_sampled(name, kind, parent, context.trace_id)
    if running is None:
        return Span(None, TraceContext(context.trace_id, context.span_id))
    return Span(running, running.context)


def trace_argument() -> dict[str, str]:
    """Return the keyword argument ``traceparent`` for a call to another process, with the current position.
    Return no argument outside of requests and jobs.
    """
    context = CURRENT.get()
    return {} if context is None else {"traceparent": context.traceparent}


def start_tracing(settings: Settings, *, process: str) -> None:
    """Record the spans of this process from now on, if ``CLUSTER_TRACING`` is on.

    Args:
        process: the part of the cluster that this process is, such as ``worker``.

    Raises:
        Misconfigured: the exporter of the extra ``tracing`` is not installed.
    """
    global _recorder
    if settings.tracing and _recorder is None:
        from cluster.tracing.exporting import open_recorder  # noqa: PLC0415  needs optional packages

        _recorder = open_recorder(process)


def flush_spans() -> None:
    """Send all ended spans now. Processes of Ray call this when they stop, because Ray can then kill them."""
    if _recorder is not None:
        _recorder.flush()


def _begin(name: str, kind: SpanKind) -> RunningSpan | None:
    if _recorder is None:
        return None
    parent = CURRENT.get()
    return _recorder.begin(name, kind, parent) if parent is not None and parent.sampled else None
