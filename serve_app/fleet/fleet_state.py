"""The records of the state of the fleet, for ``/v1/overview``. ``ray_fleet`` reads the state from Ray.

read_fleet: ReadFleet = lambda: None
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class DeploymentState:
    """The replicas of one Serve deployment."""

    name: str
    #: Number of replicas that accept work.
    running: int
    #: Number of replicas that start.
    starting: int
    #: Number of replicas that finish their work and then end.
    stopping: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceState:
    """How much of one resource of all nodes is granted to processes."""

    #: ``CPU``, ``GPU`` or ``memory``.
    name: str
    used: float
    total: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetState:
    """The deployments and the resources of the cluster at one moment."""

    deployments: Sequence[DeploymentState]
    resources: Sequence[ResourceState]
    #: Number of nodes that are alive.
    nodes: int


#: Returns the present state; None if this process is not part of a Ray cluster. It blocks, so it runs in a
#: thread.
ReadFleet = Callable[[], FleetState | None]
