"""Build the Serve application of the endpoint from settings. ``cluster/deploy/serve.yaml`` refers to
``build``.

serve deploy cluster/deploy/serve.yaml && serve status
"""

from typing import Any

import ray
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingContext

from cluster.deploy.gpu_nodes import away_from_gpus
from cluster.deploy.model_deployments import ENDPOINT, own_deployment
from cluster.deploy.serve_config import require_release_only
from cluster.engines import ModelEntry, Registry
from cluster.settings import Settings
from serve_app.deployment import ELSEWHERE, HEALTH_TIMEOUT_S, EmbedderIngress, ModelReplica

#: Maximum number of requests in a replica at the same time. Further requests wait in the router until any
#: replica can take a request.
MAX_ONGOING_REQUESTS = 256
#: Seconds over which autoscaling averages the load. Replicas report their load every 10 s.
LOOK_BACK_S = 15
HEALTH_PERIOD_S = 10
#: Maximum seconds in which a stopping replica can finish its requests: the default of the setting
#: ``request_timeout_s``, plus half a minute until HAProxy sends no more requests to the replica. The replica
#: ends as soon as it has no open request.
GRACEFUL_SHUTDOWN_S = 150
#: Seconds between two checks of a stopping replica for open requests.
DRAIN_POLL_S = 1


def build(arguments: dict[str, str]) -> Application:
    """Build the application with the settings from the environment.

    Args:
        arguments: may contain only ``release``, with any text. If the text changes, ``serve deploy`` replaces
            the replicas one after the other.
    """
    require_release_only(arguments)
    settings = Settings()
    gpus = ray.cluster_resources().get("GPU", 0.0)  # type: ignore[no-untyped-call]
    handles: dict[str, Any] = {}
    for entry in Registry(settings).entries.values():
        if entry.options.own_deployment:
            model: Any = serve.deployment(**model_options(entry, gpus=gpus))(ModelReplica)
            handles[entry.name] = model.bind(entry.name)
    deployment: Any = serve.deployment(**options(settings, gpus=gpus))(EmbedderIngress)
    application: Application = deployment.bind(handles)
    return application


def options(settings: Settings, *, gpus: float) -> dict[str, Any]:
    """Return the options of the endpoint's deployment for a cluster with this number of GPUs."""
    made = _options(
        settings,
        name=ENDPOINT,
        gpus=settings.gpu_share(gpus),
        memory_gib=settings.memory_per_replica_gib,
        bounds=(settings.min_replicas, settings.max_replicas),
    )
    if "autoscaling_config" in made and any(model.own_deployment for model in settings.models.values()):
        made["autoscaling_config"]["policy"] = {"policy_function": "serve_app.main:by_own_requests"}
    return made


def model_options(entry: ModelEntry, *, gpus: float) -> dict[str, Any]:
    """Return the options of a model's own deployment for a cluster with this number of GPUs."""
    own = entry.options.gpus
    return _options(
        entry.settings,
        name=own_deployment(entry.name),
        gpus=entry.settings.gpu_share(gpus) if own is None else own,
        memory_gib=entry.memory_gib,
        bounds=entry.options.replicas,
    )


def by_own_requests(context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
    """Return the number of replicas that the endpoint's own requests need.

    A request that waits for a model in another deployment is counted in that deployment, and not here.
    Otherwise the load of one model would add replicas of all models.
    """
    elsewhere = sum((context.aggregated_metrics or {}).get(ELSEWHERE, {}).values())
    own = max(0.0, context.total_num_requests - elsewhere)
    assert context.config is not None
    # A request that waits for another deployment still needs a replica of the endpoint.
    least = 1.0 if context.total_num_requests else 0.0
    return max(least, own / context.config.get_target_ongoing_requests()), context.policy_state


def _options(
    settings: Settings, *, name: str, gpus: float, memory_gib: float, bounds: tuple[int, int]
) -> dict[str, Any]:
    return {
        "name": name,
        "max_ongoing_requests": MAX_ONGOING_REQUESTS,
        "health_check_period_s": HEALTH_PERIOD_S,
        "health_check_timeout_s": HEALTH_TIMEOUT_S,
        "graceful_shutdown_wait_loop_s": DRAIN_POLL_S,
        "graceful_shutdown_timeout_s": GRACEFUL_SHUTDOWN_S,
        "max_surge_percent": settings.update_surge_percent,
        "ray_actor_options": {
            "num_cpus": settings.cpus_per_replica or 1,
            "num_gpus": gpus,
            **({} if gpus else away_from_gpus()),
            **({"memory": int(memory_gib * 2**30)} if memory_gib else {}),
        },
        **_scale(settings, *bounds),
    }


def _scale(settings: Settings, least: int, most: int) -> dict[str, Any]:
    if least == most:
        return {"num_replicas": most}
    return {
        "autoscaling_config": {
            "min_replicas": least,
            "max_replicas": most,
            "target_ongoing_requests": settings.target_ongoing_requests,
            "look_back_period_s": LOOK_BACK_S,
            "upscale_delay_s": settings.upscale_delay_s,
            "downscale_delay_s": settings.downscale_delay_s,
        }
    }
