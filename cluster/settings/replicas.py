"""Replicas of the embedding deployment: their number, and the CPUs each one asks Ray for."""

from typing import Self

from pydantic import Field, model_validator

from cluster.settings.values import Concern


class ReplicaSettings(Concern):
    """Replicas of the embedding deployment: their number, and the CPUs each one asks Ray for."""

    cpus_per_replica: int = Field(default=0, ge=0)
    """CPUs that one replica asks Ray for, and its threads. 0: it asks for one and uses what is idle of its node beside the jobs there."""

    min_replicas: int = Field(default=1, ge=0)
    """Fewest replicas of the embedding deployment."""

    max_replicas: int = Field(default=1, ge=1)
    """Most replicas of the embedding deployment."""

    target_ongoing_requests: float = Field(default=32.0, gt=0)
    """Requests a replica should hold, those that wait included: more than that on average adds replicas, fewer removes them."""

    upscale_delay_s: float = Field(default=10.0, ge=0)
    """Replicas are added when the load has asked for them this long."""

    downscale_delay_s: float = Field(default=300.0, ge=0)
    """Replicas are removed when the load has not needed them this long."""

    update_surge_percent: int = Field(default=25, ge=0, le=100)
    """Replicas an update starts before it stops old ones, in percent, rounded up. It waits for room; 0 stops first and needs none."""

    @model_validator(mode="after")
    def _replicas_in_order(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas={self.max_replicas} is below min_replicas={self.min_replicas}")
        return self
