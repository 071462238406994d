"""The replicas of the embedding deployment: their number, the CPUs and the memory that each one asks Ray for,
and how updates replace them."""

from typing import Self

from pydantic import Field, model_validator

from cluster.settings.values import Concern


class ReplicaSettings(Concern):
    """The replicas of the embedding deployment: their number, the CPUs and the memory that each one
    asks Ray for, and how updates replace them."""

    cpus_per_replica: int = Field(default=0, ge=0)
    """Number of CPUs that one replica asks Ray for, and number of threads of its engine. 0: the replica asks
    for one CPU, and its engine uses all cores of the node that jobs leave idle."""

    memory_per_replica_gib: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Memory in GiB that Ray reserves on a node for one replica, and for one engine of a bulk job. Ray starts
    only as many on a node as its memory has room for. 0: Ray reserves no memory."""

    min_replicas: int = Field(default=1, ge=0)
    """Minimum number of replicas."""

    max_replicas: int = Field(default=1, ge=1)
    """Maximum number of replicas. If it equals ``min_replicas``, replicas are not added or removed."""

    target_ongoing_requests: float = Field(default=32.0, gt=0)
    """Number of running and waiting requests per replica that autoscaling aims at. If the average is higher,
    it adds replicas; if the average is lower, it removes replicas."""

    upscale_delay_s: float = Field(default=10.0, ge=0)
    """Seconds for which the load must ask for more replicas or workers before they are added."""

    downscale_delay_s: float = Field(default=300.0, ge=0)
    """Seconds for which the load must need fewer replicas or workers before they are removed. Replicas report
    their load every 10 s, so with less than 30 s, replicas may be removed while others start."""

    update_surge_percent: int = Field(default=25, ge=0, le=100)
    """Number of replicas that an update starts before it stops old replicas, in percent of all replicas,
    rounded up. The new replicas need free CPUs or GPUs. 0: the update stops old replicas first and needs no
    free CPUs or GPUs."""

    @model_validator(mode="after")
    def _replicas_in_order(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas={self.max_replicas} is below min_replicas={self.min_replicas}")
        return self
