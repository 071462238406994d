"""A collector of spans: a small HTTP server that takes OTLP as a real collector does."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from cluster.settings import Settings
from cluster.tracing import flush_spans, spans, start_tracing
from tests.waiting import until


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as the collector received it."""

    name: str
    kind: str
    trace_id: str
    id: str
    parent: str
    failed: bool
    attributes: dict[str, Any]
    #: Attributes of the process.
    resource: dict[str, Any]
    schema_url: str


@dataclass
class Collector:
    """The spans that arrived, and the address of the collector."""

    url: str
    spans: list[ReceivedSpan] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def until(self, condition: Callable[[list[ReceivedSpan]], bool], *, trace: str) -> list[ReceivedSpan]:
        """The spans of the trace, as soon as they meet the condition."""

        def arrived() -> list[ReceivedSpan]:
            flush_spans()
            return [span for span in self.spans if span.trace_id == trace]

        found: list[ReceivedSpan] = until(arrived, condition, what=f"spans of {trace}")
        return found


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.headers.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
            collector.spans += read_spans(body)
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def traced(settings: Settings, **variables: str) -> Iterator[Collector]:
    """Record the spans of this process inside the block, and send them to a collector over TCP."""
    with collecting() as collector, pytest.MonkeyPatch.context() as patch:
        every = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_TRACES_SAMPLER": "parentbased_always_on"}
        for name, value in (every | variables).items():
            patch.setenv(name, value)
        patch.setattr(spans, "_recorder", None)
        start_tracing(settings.model_copy(update={"tracing": True}), process="tests")
        try:
            yield collector
        finally:
            recorder: Any = spans._recorder
            if recorder is not None:
                recorder.close()


def read_spans(body: bytes) -> list[ReceivedSpan]:
    """The spans of one request of an exporter."""
    found = []
    for process in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in process.scope_spans:
            found += [
                ReceivedSpan(
                    name=span.name,
                    kind=span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    trace_id=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    failed=span.status.code == span.status.STATUS_CODE_ERROR,
                    attributes={one.key: value_of(one.value) for one in span.attributes},
                    resource={one.key: value_of(one.value) for one in process.resource.attributes},
                    schema_url=scope.schema_url,
                )
                for span in scope.spans
            ]
    return found


def value_of(value: AnyValue) -> Any:
    """The value of an attribute."""
    name = value.WhichOneof("value")
    if name == "array_value":
        return [value_of(one) for one in value.array_value.values]
    return getattr(value, name) if name else None
