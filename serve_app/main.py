"""The Serve applications, built from settings. ``cluster/deploy/serve.yaml`` names ``build``.

serve deploy cluster/deploy/serve.yaml && serve status
"""

from typing import Any

import ray
from ray import serve
from ray.serve import Application

from cluster.settings import Settings
from serve_app.embedder import HEALTH_TIMEOUT_S, EmbedderIngress

#: Requests a replica holds at once: beyond it they wait in the router, where another replica can take them.
MAX_ONGOING_REQUESTS = 256
#: The autoscaler adds replicas so that each has about this many requests.
TARGET_ONGOING_REQUESTS = 32
HEALTH_PERIOD_S = 10
#: A replica that is told to stop finishes what it has within this time.
GRACEFUL_SHUTDOWN_S = 30


def build(arguments: dict[str, Any]) -> Application:
    """The application with the settings of this environment.

    Args:
        arguments: none are taken; settings come from the environment of ``ray start``.
    """
    if arguments:
        raise ValueError(f"unknown arguments {sorted(arguments)}: settings come from CLUSTER_* environment variables")
    settings = Settings()
    options: dict[str, Any] = {
        "name": "embedder",
        "max_ongoing_requests": MAX_ONGOING_REQUESTS,
        "health_check_period_s": HEALTH_PERIOD_S,
        "health_check_timeout_s": HEALTH_TIMEOUT_S,
        "graceful_shutdown_wait_loop_s": 2,
        "graceful_shutdown_timeout_s": GRACEFUL_SHUTDOWN_S,
        "ray_actor_options": _share(settings),
        **_scale(settings),
    }
    deployment: Any = serve.deployment(**options)(EmbedderIngress)
    application: Application = deployment.bind()
    return application


def _share(settings: Settings) -> dict[str, Any]:
    """What a replica asks of Ray: a share of a GPU where the cluster has any, else one CPU."""
    has_gpus = settings.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0  # type: ignore[no-untyped-call]
    return {"num_cpus": 1, "num_gpus": settings.gpus_per_embedder} if has_gpus else {"num_cpus": 1}


def _scale(settings: Settings) -> dict[str, Any]:
    if settings.min_replicas == settings.max_replicas:
        return {"num_replicas": settings.max_replicas}
    return {
        "autoscaling_config": {
            "min_replicas": settings.min_replicas,
            "max_replicas": settings.max_replicas,
            "target_ongoing_requests": TARGET_ONGOING_REQUESTS,
        }
    }
