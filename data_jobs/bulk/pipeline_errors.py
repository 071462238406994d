"""Find the error that ended a pipeline of Ray Data. Called by the bulk ingest.

try:
    yield from chain.iter_rows()
except RayError as exc:
    raise pipeline_error(exc) from exc
"""

from ray.exceptions import RayError, RayTaskError

from cluster.errors import ClusterError, Unavailable, last_line


def pipeline_error(error: RayError) -> ClusterError:
    """Return the error with which a stage ended the run. If no stage raised it, for example if Ray lost a
    node, return ``Unavailable`` with Ray's reason.

    Ray Data appends advice about its own settings to the message of the stage's error, so only the first line
    is kept. ``ray_session`` makes Ray Data pass the stage's error on.
    """
    cause = error.cause if isinstance(error, RayTaskError) else None
    if isinstance(cause, ClusterError):
        cause.args = (str(cause).partition("\n")[0], *cause.args[1:])
        return cause
    if cause is None:
        return Unavailable(f"the pipeline failed: {last_line(error)}")
    first, _, _ = str(cause).partition("\n")
    return Unavailable(f"the pipeline failed: {type(cause).__name__}: {first}")
