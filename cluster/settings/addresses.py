"""Addresses and ports that the cluster listens on, and the web pages that may call them."""

from ipaddress import ip_address
from typing import Self

from pydantic import Field, model_validator

from cluster.settings.values import Concern, Origins

#: Ray takes the ports of its workers from this range by default; the settings' ports stay outside it.
RAY_WORKER_PORTS = range(10002, 20000)
#: Number of ports taken from ``ray_port`` on: eight by Ray's head and agents, three by Serve, the others by replicas.
RAY_PORTS = 32


def is_loopback(host: str) -> bool:
    """True for an address that only this machine reaches."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class AddressSettings(Concern):
    """Addresses and ports that the cluster listens on, and the web pages that may call them."""

    api_host: str = "127.0.0.1"
    """Address the HTTP endpoint listens on."""

    api_port: int = Field(default=8000, ge=1, le=65535)
    """Port of the HTTP endpoint."""

    cors_origins: Origins = ()
    """Pages that may call the endpoint from a browser: origins such as ``https://app.example.com``, with commas between; ``*``: all."""

    dashboard_port: int = Field(default=8265, ge=1, le=65535)
    """Port of the Ray dashboard and of ``ray job submit``."""

    ray_port: int = Field(default=6379, ge=1, le=65536 - RAY_PORTS)
    """Port of Ray's head (GCS) on this machine; the next 31 ports are for its agents, for Serve and for replicas."""

    @model_validator(mode="after")
    def _ports_are_free_of_ray_workers(self) -> Self:
        for name, width in (("api_port", 1), ("dashboard_port", 1), ("ray_port", RAY_PORTS)):
            first = getattr(self, name)
            for port in range(first, first + width):
                if port in RAY_WORKER_PORTS:
                    raise ValueError(
                        f"{name}={first} takes {port} of {RAY_WORKER_PORTS}, where Ray places its workers; choose another"
                    )
        return self
