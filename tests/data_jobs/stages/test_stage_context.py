"""The stages of a bulk job are spans of the job's trace, and their log lines have the id of the trace."""

from threading import Thread

import structlog

from cluster.settings import Settings
from cluster.tracing import current_trace
from data_jobs.stages.stage_context import in_stage
from tests.cluster.tracing.collector import traced

TRACE, JOB = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_stage_in_another_process_continues_the_trace_of_its_job(settings: Settings) -> None:
    seen: list[object] = []

    def work() -> None:
        with in_stage("embed", traceparent=f"00-{TRACE}-{JOB}-01", job="job_1"):
            seen.append(structlog.contextvars.get_contextvars())
        seen.append(current_trace())

    with traced(settings) as collector:
        thread = Thread(target=work)  # has a context of its own, as another process has
        thread.start()
        thread.join()
        (stage,) = collector.until(lambda found: len(found) == 1, trace=TRACE)

    assert (stage.name, stage.parent) == ("stage embed", JOB)
    assert seen == [{"stage": "embed", "job": "job_1"}, None]
