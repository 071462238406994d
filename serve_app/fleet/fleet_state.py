"""Defines the state of the fleet, which ``/v1/overview`` shows. ``ray_fleet`` reads the state from Ray.

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
    #: Number of replicas that do not accept work yet.
    starting: int
    #: Number of replicas that finish their work and then end.
    stopping: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceState:
    """One resource of all nodes together, and how much of the resource Ray has granted to processes."""

    #: ``CPU`` or ``GPU``.
    name: str
    #: How much is granted.
    used: float
    #: How much all nodes have.
    total: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetState:
    """The deployments, the resources and the number of nodes of the cluster at one moment."""

    deployments: Sequence[DeploymentState]
    resources: Sequence[ResourceState]
    #: Number of nodes that are alive.
    nodes: int


#: Returns the present state; None if there is no Ray cluster or if Ray does not answer. The function blocks,
#: so call it in a thread.
ReadFleet = Callable[[], FleetState | None]
