"""Open the forward passes that are the fastest on this processor, one for single queries and one for batches.

The forward passes are timed when a model is first opened on a machine. ``local`` calls this module, and
``int8_gate`` calls it before measuring recall.

    encoder, precision = open_on_cpu(folder, settings)
"""

import structlog

from cluster.engines.bert.compiled import unfit
from cluster.engines.choice.kept_timings import timings_of
from cluster.engines.choice.paths import Encoder, Paths, Timings, candidates, choose, open_encoder, open_path
from cluster.engines.choice.processor import granted_cores
from cluster.engines.choice.timing import measure, part_of
from cluster.engines.weights import ModelFolder
from cluster.settings import Settings

log = structlog.get_logger(__name__)


def open_on_cpu(folder: ModelFolder, settings: Settings, paths: Paths | None = None) -> tuple[Encoder, str]:
    """Open an encoder on ``paths``, or on the fastest paths if ``paths`` is None.

    Return the encoder and the name of the encoder's precision.
    """
    paths = paths or paths_for(folder, settings)
    without_compiled = {"not_compiled_because": reason} if (reason := unfit(folder)) else {}
    log.info("encoder_opened", query=paths.query.value, batch=paths.batch.value, **without_compiled)
    return open_encoder(paths, folder), paths.precision


def paths_for(folder: ModelFolder, settings: Settings) -> Paths:
    """Find the fastest path on this processor for single queries, and the fastest path for batches.

    The precision of the settings limits the paths.

    Raises:
        Misconfigured: int8 is set, but int8 is not faster than float32, or this torch has no 8-bit layers.
    """
    among = candidates(folder, settings.precision)
    if len(among) == 1:
        return Paths(query=among[0], batch=among[0])

    def measured() -> Timings:
        part = part_of(folder)
        return measure({path: open_path(path, part) for path in among})

    timings = timings_of(folder, settings, threads=threads_of(settings), paths=among, measured=measured)
    return choose(timings, settings.precision)


def threads_of(settings: Settings) -> int:
    """Return the number of worker threads of an engine on a CPU: the setting, or else the number of cores."""
    return settings.engine_threads or granted_cores()
