"""Read the state of the fleet from Ray, for ``/v1/overview``. The replicas of the endpoint call this module.

build_api(service, read_fleet=ray_fleet)
"""

from typing import Any

import ray
import structlog
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.schema import DeploymentStatusOverview

from serve_app.fleet.fleet_state import DeploymentState, FleetState, ResourceState

log = structlog.get_logger(__name__)

#: Ray's names of the resources that the overview shows. Ray knows more resources.
RESOURCES = ("CPU", "GPU")
#: Serve's names for the states of a replica that does not accept work yet.
STARTING = ("STARTING", "UPDATING", "RECOVERING")


def ray_fleet() -> FleetState | None:
    """Return the present state of the fleet; None if Ray does not answer."""
    cluster: Any = ray  # Any, because the functions of Ray that are used below have no annotations
    try:
        status = serve.status()
        total, free = cluster.cluster_resources(), cluster.available_resources()
        nodes = sum(bool(node["Alive"]) for node in cluster.nodes())
    except (RayError, RayServeException, ConnectionError, TimeoutError) as exc:
        log.warning("fleet_not_known", reason=str(exc))
        return None
    deployments = [
        _deployment(name, deployment)
        for application in status.applications.values()
        for name, deployment in application.deployments.items()
    ]
    resources = [
        ResourceState(name=name, used=max(0.0, total[name] - free.get(name, 0.0)), total=total[name])
        for name in RESOURCES
        if total.get(name)
    ]
    return FleetState(deployments=deployments, resources=resources, nodes=nodes)


def _deployment(name: str, found: DeploymentStatusOverview) -> DeploymentState:
    # Serve's annotation says that the keys are members of an enumeration, but Serve returns their values.
    count = {getattr(state, "value", state): replicas for state, replicas in found.replica_states.items()}
    return DeploymentState(
        name=name,
        running=count.get("RUNNING", 0),
        starting=sum(count.get(state, 0) for state in STARTING),
        stopping=count.get("STOPPING", 0),
    )
