"""Build the Serve application of the endpoint from settings. ``cluster/deploy/serve.yaml`` refers to
``build``.

serve deploy cluster/deploy/serve.yaml && serve status
"""

from typing import Any

import ray
from ray import serve
from ray.serve import Application

from cluster.deploy.serve_config import require_release_only
from cluster.settings import Settings
from serve_app.deployment import HEALTH_TIMEOUT_S, EmbedderIngress

#: Maximum number of requests in a replica at once. Further requests wait in the router, from which another
#: replica can take them.
MAX_ONGOING_REQUESTS = 256
#: Seconds over which autoscaling averages the load. Replicas report their load every 10 s.
LOOK_BACK_S = 15
HEALTH_PERIOD_S = 10
#: Maximum seconds in which a stopping replica can finish its requests: the setting ``request_timeout_s``,
#: plus half a minute until HAProxy sends it no more requests. The replica ends as soon as it has no open
#: request.
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
    deployment: Any = serve.deployment(**options(settings, gpus=gpus))(EmbedderIngress)
    application: Application = deployment.bind()
    return application


def options(settings: Settings, *, gpus: float) -> dict[str, Any]:
    """Return the options of the deployment for a cluster with this number of GPUs."""
    return {
        "name": "embedder",
        "max_ongoing_requests": MAX_ONGOING_REQUESTS,
        "health_check_period_s": HEALTH_PERIOD_S,
        "health_check_timeout_s": HEALTH_TIMEOUT_S,
        "graceful_shutdown_wait_loop_s": DRAIN_POLL_S,
        "graceful_shutdown_timeout_s": GRACEFUL_SHUTDOWN_S,
        "max_surge_percent": settings.update_surge_percent,
        "ray_actor_options": {
            "num_cpus": settings.cpus_per_replica or 1,
            "num_gpus": settings.gpu_share(gpus),
        },
        **_scale(settings),
    }


def _scale(settings: Settings) -> dict[str, Any]:
    if settings.min_replicas == settings.max_replicas:
        return {"num_replicas": settings.max_replicas}
    return {
        "autoscaling_config": {
            "min_replicas": settings.min_replicas,
            "max_replicas": settings.max_replicas,
            "target_ongoing_requests": settings.target_ongoing_requests,
            "look_back_period_s": LOOK_BACK_S,
            "upscale_delay_s": settings.upscale_delay_s,
            "downscale_delay_s": settings.downscale_delay_s,
        }
    }
