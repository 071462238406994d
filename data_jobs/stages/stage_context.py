"""Name the stage in the log lines of a block, and record the block as a span.

with in_stage("embed", job=job, organisation=organisation):
    ...
"""

from collections.abc import Iterator
from contextlib import contextmanager

from cluster.logs import about
from cluster.tracing import TraceContext, current_trace, in_trace, span


@contextmanager
def in_stage(name: str, *, traceparent: str | None = None, **fields: str) -> Iterator[None]:
    """Add the stage and the fields to all log lines inside the block, and record a span of the stage.

    Args:
        name: name of the stage, in lower case.
        traceparent: the position of the job in its trace, for a stage that runs in another process than the
            job; None keeps the current position.
        fields: fields of the log lines, such as job and organisation.
    """
    context = TraceContext.parse(traceparent) or current_trace()
    with in_trace(context), about(stage=name, **fields), span(f"stage {name}"):
        yield
