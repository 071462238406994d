"""Spans reach a collector by OTLP over HTTP, as the standard variables say; by default there are none."""

import sys

import pytest

from cluster.errors import Misconfigured
from cluster.settings import Settings
from cluster.tracing import (
    CLIENT,
    CONSUMER,
    SERVER,
    TraceContext,
    continued_trace,
    current_trace,
    detached_span,
    position_of_work,
    span,
    spans,
    start_tracing,
)
from cluster.tracing.conventions import SCHEMA_URL
from tests.cluster.tracing.collector import traced
from tests.imported_modules import modules_after

PARENT = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", True)


def fail_inside() -> None:
    with span("inner") as inner:
        inner.set({"cluster.pages": 3})
        call = detached_span("call", CLIENT)
        assert current_trace() == inner.context
        call.end()
        raise KeyError("text of a document")


def test_a_tree_of_spans_arrives_with_its_names_and_failures(settings: Settings) -> None:
    with traced(settings, OTEL_EXPORTER_OTLP_HEADERS="x-token=secret") as collector:
        with continued_trace("GET", SERVER, PARENT) as root:
            root.rename("GET /v1/things")
            with pytest.raises(KeyError):
                fail_inside()
        arrived = collector.until(lambda found: len(found) == 3, trace=PARENT.trace_id)

    by_name = {one.name: one for one in arrived}
    top, inner, call = by_name["GET /v1/things"], by_name["inner"], by_name["call"]
    assert (top.parent, inner.parent, call.parent) == (PARENT.span_id, top.id, inner.id)
    assert (top.kind, inner.kind, call.kind) == ("SERVER", "INTERNAL", "CLIENT")
    assert (top.failed, inner.failed) == (False, True)
    assert inner.attributes == {"cluster.pages": 3, "error.type": "KeyError"}
    assert (top.resource["service.name"], top.schema_url) == ("embedding-cluster-tests", SCHEMA_URL)
    assert collector.headers[0]["path"] == "/v1/traces"
    assert collector.headers[0]["x-token"] == "secret"
    assert current_trace() is None


def test_without_the_setting_a_trace_has_an_id_and_no_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "_recorder", None)
    start_tracing(Settings(), process="tests")

    with continued_trace("GET", SERVER, PARENT) as root, span("inner") as inner:
        assert not root.recorded
        assert not inner.recorded
        assert current_trace() == PARENT  # passed on unchanged
    with continued_trace("GET", SERVER, None):
        made = current_trace()
    assert made is not None
    assert not made.sampled


def test_the_sampler_decides_once_and_the_id_stays(settings: Settings) -> None:
    never = {"OTEL_TRACES_SAMPLER": "parentbased_always_off"}
    with traced(settings, **never) as collector:
        with continued_trace("POST", SERVER, None) as root, span("inner") as inner:
            assert not root.recorded
            assert not inner.recorded
        with continued_trace("POST", SERVER, PARENT) as asked:  # the caller records its trace
            assert asked.recorded
        collector.until(lambda found: len(found) == 1, trace=PARENT.trace_id)

    assert len(collector.spans) == 1


def test_a_trace_without_a_span_is_sampled_by_the_process_that_begins_the_work(settings: Settings) -> None:
    position = position_of_work()
    with traced(settings) as collector:
        with continued_trace("job test", CONSUMER, TraceContext.of_work(position)) as run:
            assert run.recorded
        (only,) = collector.until(lambda found: len(found) == 1, trace=position)
    with continued_trace("job test", CONSUMER, TraceContext.of_work(position)):
        unrecorded = current_trace()

    assert (only.parent, only.kind) == ("", "CONSUMER")
    assert unrecorded is not None
    assert (unrecorded.trace_id, len(unrecorded.span_id)) == (position, 16)


def test_the_names_of_the_operator_come_before_ours(settings: Settings) -> None:
    named = {"OTEL_SERVICE_NAME": "search", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test"}
    with traced(settings, **named) as collector:
        with continued_trace("GET", SERVER, PARENT):
            pass
        (only,) = collector.until(lambda found: len(found) == 1, trace=PARENT.trace_id)

    assert (only.resource["service.name"], only.resource["deployment.environment"]) == ("search", "test")


def test_without_the_extra_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "_recorder", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)

    with pytest.raises(Misconfigured, match=r"pip install 'embedding-cluster\[tracing\]'"):
        start_tracing(Settings(tracing=True), process="tests")


def test_opentelemetry_is_not_imported_by_default() -> None:
    found = modules_after(
        "from cluster.tracing import start_tracing; from cluster.settings import Settings;"
        " start_tracing(Settings(), process='p')"
    )
    assert "cluster.tracing" in found
    assert "opentelemetry" not in found
