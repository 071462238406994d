"""Gives every request and job a trace id, and records spans with OpenTelemetry if ``CLUSTER_TRACING`` is on.

The edge continues the trace that a request names, or begins a new trace. The worker continues the trace of a
job. The trace id is in log lines, in the job and in answers, also if no spans are recorded. See
docs/tracing.md.

    start_tracing(settings, process="worker")
    with continued_trace(f"job {job.kind}", CONSUMER, TraceContext.of_work(job.traceparent)):
        with span("stage parse"):
            ...
"""

from cluster.tracing.spans import (
    CLIENT,
    CONSUMER,
    INTERNAL,
    SERVER,
    UNRECORDED,
    AttributeValue,
    Span,
    SpanKind,
    continued_trace,
    detached_span,
    flush_spans,
    span,
    start_tracing,
    trace_argument,
)
from cluster.tracing.trace_context import TraceContext, current_trace, in_trace, position_of_work

__all__ = [
    "CLIENT",
    "CONSUMER",
    "INTERNAL",
    "SERVER",
    "UNRECORDED",
    "AttributeValue",
    "Span",
    "SpanKind",
    "TraceContext",
    "continued_trace",
    "current_trace",
    "detached_span",
    "flush_spans",
    "in_trace",
    "position_of_work",
    "span",
    "start_tracing",
    "trace_argument",
]
