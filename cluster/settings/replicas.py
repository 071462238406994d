"""The replicas of the embedding deployment: their number, the CPUs each one asks Ray for, and how updates
replace them."""

from typing import Self

from pydantic import Field, model_validator

from cluster.settings.values import Concern


class ReplicaSettings(Concern):
    """The replicas of the embedding deployment: their number, the CPUs each one asks Ray for, and how updates
    replace them."""

    cpus_per_replica: int = Field(default=0, ge=0)
    """CPUs that one replica asks Ray for; they are also its engine's threads. 0: it asks for one CPU, and its
    engine uses all cores of its node that jobs there leave idle."""

    min_replicas: int = Field(default=1, ge=0)
    """Lowest number of replicas."""

    max_replicas: int = Field(default=1, ge=1)
    """Highest number of replicas. With the same number as ``min_replicas``, replicas are not added or
    removed."""

    target_ongoing_requests: float = Field(default=32.0, gt=0)
    """Requests per replica, running and waiting, that autoscaling aims at. With more on average it adds
    replicas, with fewer it removes them."""

    upscale_delay_s: float = Field(default=10.0, ge=0)
    """Seconds for which the load must ask for more replicas or workers before they are added."""

    downscale_delay_s: float = Field(default=300.0, ge=0)
    """Seconds for which the load must need fewer replicas or workers before they are removed."""

    update_surge_percent: int = Field(default=25, ge=0, le=100)
    """Replicas that an update starts before it stops old ones, in percent of all, rounded up. They need free
    CPUs or GPUs; 0 stops old replicas first and needs none."""

    @model_validator(mode="after")
    def _replicas_in_order(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas={self.max_replicas} is below min_replicas={self.min_replicas}")
        return self
