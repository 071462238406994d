"""The variants that ``benchmarks.overhead`` compares: which metrics and traces are on."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from cluster.tracing.exporting import SAMPLER, OpenTelemetryRecorder, open_recorder

#: Concurrent clients.
CLIENTS = 16
OFF = "off"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What is on."""

    metrics: bool
    #: Traces that are recorded: a name of ``recorders()``.
    traces: str


#: The first variant is the baseline.
VARIANTS: Mapping[str, Variant] = {
    OFF: Variant(metrics=False, traces="off"),
    "metrics": Variant(metrics=True, traces="off"),
    "metrics and traces, the default share of 5%": Variant(metrics=True, traces="default"),
    "metrics and all traces": Variant(metrics=True, traces="all"),
}


def rotated(number: int) -> list[str]:
    """Return the names of the variants in the order of a round. Each round begins with the next variant."""
    turn = number % len(VARIANTS)
    return [*VARIANTS][turn:] + [*VARIANTS][:turn]


def recorders() -> dict[str, OpenTelemetryRecorder | None]:
    """Open the recorder of each kind of ``Variant.traces``. This changes the variable ``SAMPLER``."""
    default = open_recorder("endpoint")
    os.environ[SAMPLER] = "parentbased_always_on"
    return {"off": None, "default": default, "all": open_recorder("endpoint")}
