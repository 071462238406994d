"""Record spans with OpenTelemetry's SDK, and send them by OTLP over HTTP. Needs the extra ``tracing``.

The SDK reads its own variables: ``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_EXPORTER_OTLP_HEADERS``,
``OTEL_TRACES_SAMPLER``, ``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES``, ``OTEL_BSP_*`` and the others of
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/. This is the only file that
imports OpenTelemetry. ``cluster.tracing.spans`` opens the recorder.

    recorder = open_recorder("endpoint")
"""

import os
from collections.abc import Mapping
from contextvars import ContextVar
from importlib.metadata import version
from socket import gethostname

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

from cluster.errors import Misconfigured
from cluster.tracing.conventions import SCHEMA_URL
from cluster.tracing.spans import AttributeValue, SpanKind
from cluster.tracing.trace_context import TraceContext

#: Share of the traces that are recorded if ``OTEL_TRACES_SAMPLER`` is not set. The share is small, because
#: recording all requests costs 2% of the throughput of short texts (docs/decisions/070-traces.md).
DEFAULT_RATIO = 0.05
SAMPLER, DISABLED = "OTEL_TRACES_SAMPLER", "OTEL_SDK_DISABLED"
NAME = "embedding-cluster"
#: Milliseconds that ``flush`` waits for the collector.
FLUSH_TIMEOUT_MS = 2_000
#: The trace id for the span that begins next in this context; None for a random id.
_TRACE_ID: ContextVar[int | None] = ContextVar("new_trace_id", default=None)
_KINDS = {kind: trace.SpanKind[kind.value] for kind in SpanKind}


class _Ids(RandomIdGenerator):
    """Gives a new trace the id that is already in the log lines of the request or job."""

    def generate_trace_id(self) -> int:
        return _TRACE_ID.get() or super().generate_trace_id()


class OpenTelemetrySpan:
    """A span of OpenTelemetry, as a ``RunningSpan``."""

    __slots__ = ("_span", "context")

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        made = span.get_span_context()
        self.context = TraceContext(f"{made.trace_id:032x}", f"{made.span_id:016x}", made.trace_flags.sampled)

    def set(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set attributes of the span."""
        self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        """Replace the name of the span."""
        self._span.update_name(name)

    def fail(self, reason: str) -> None:
        """Mark the span as failed, with the reason as the attribute ``error.type``."""
        self._span.set_attribute("error.type", reason)
        self._span.set_status(trace.StatusCode.ERROR)

    def end(self) -> None:
        """End the span."""
        self._span.end()


class OpenTelemetryRecorder:
    """Begins spans with one ``TracerProvider``, as a ``SpanRecorder``."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(NAME, version(NAME), schema_url=SCHEMA_URL)

    def begin(self, name: str, kind: SpanKind, parent: TraceContext) -> OpenTelemetrySpan:
        """Begin a span inside a trace that is recorded. ``parent`` is a span of the same process."""
        return OpenTelemetrySpan(
            self._tracer.start_span(name, context=_context(parent, remote=False), kind=_KINDS[kind])
        )

    def begin_sampled(
        self, name: str, kind: SpanKind, parent: TraceContext | None, trace_id: str
    ) -> OpenTelemetrySpan | None:
        """Begin the first span of this process in a trace; None if the sampler leaves out the trace.

        The sampler is asked before a span is made, because a span that is dropped also costs time.

        Args:
            parent: the span of the other process; None if the trace begins here.
            trace_id: id of the trace; it is the id of the parent's trace if there is a parent.
        """
        context = Context() if parent is None else _context(parent, remote=True)
        number = int(trace_id, 16)
        sampled = self._provider.sampler.should_sample(context, number, name, _KINDS[kind])
        if not sampled.decision.is_sampled():
            return None
        token = _TRACE_ID.set(number)
        try:
            return OpenTelemetrySpan(self._tracer.start_span(name, context=context, kind=_KINDS[kind]))
        finally:
            _TRACE_ID.reset(token)

    def flush(self) -> None:
        """Send all ended spans now, and wait for the collector for at most ``FLUSH_TIMEOUT_MS``."""
        self._provider.force_flush(FLUSH_TIMEOUT_MS)

    def close(self) -> None:
        """Send all ended spans, and end the thread that sends them."""
        self._provider.shutdown()


def open_recorder(process: str) -> OpenTelemetryRecorder | None:
    """Open the recorder of this process; None if ``OTEL_SDK_DISABLED`` is true.

    Raises:
        Misconfigured: the exporter of the extra ``tracing`` is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415  optional package
            OTLPSpanExporter,
        )
    except ImportError as exc:
        raise Misconfigured(
            "CLUSTER_TRACING is on, but the exporter of spans is not installed; run "
            "pip install 'embedding-cluster[tracing]' on every node, or set CLUSTER_TRACING=false"
        ) from exc
    if os.environ.get(DISABLED, "").strip().lower() == "true":
        return None
    own = Resource(
        {
            "service.name": f"{NAME}-{process}",
            "service.version": version(NAME),
            "host.name": gethostname(),
            "process.pid": os.getpid(),
        }
    )
    provider = TracerProvider(
        # If the variable is set, None makes the SDK choose the sampler that the variable names.
        sampler=None if os.environ.get(SAMPLER) else ParentBasedTraceIdRatio(DEFAULT_RATIO),
        resource=own.merge(OTELResourceDetector().detect()),
        id_generator=_Ids(),
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OpenTelemetryRecorder(provider)


def _context(parent: TraceContext, *, remote: bool) -> Context:
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if parent.sampled else trace.TraceFlags.DEFAULT)
    position = trace.SpanContext(
        int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=remote, trace_flags=flags
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(position), Context())
