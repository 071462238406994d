"""The addresses and ports that the cluster listens on, and the web pages that may call the endpoint."""

from ipaddress import ip_address
from typing import Self

from pydantic import Field, model_validator

from cluster.settings.values import Concern, Origins

#: Ray takes the ports of its workers from this range by default; the settings' ports stay outside it.
RAY_WORKER_PORTS = range(10002, 20000)
#: Number of ports from ``ray_port`` on: eight for Ray's head and agents, three for Serve, the rest for
#: replicas.
RAY_PORTS = 32


def is_loopback(host: str) -> bool:
    """True for an address that only processes on this machine can reach."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class AddressSettings(Concern):
    """The addresses and ports that the cluster listens on, and the web pages that may call the endpoint."""

    api_host: str = "127.0.0.1"
    """Address that the HTTP endpoint listens on. If other machines can reach the address, ``api_key`` or a
    key of an organisation must exist."""

    api_port: int = Field(default=8000, ge=1, le=65535)
    """Port of the HTTP endpoint."""

    cors_origins: Origins = ()
    """Origins of the web pages that may call the endpoint from a browser, separated by commas, such as
    ``https://app.example.com``. ``*`` allows every page."""

    dashboard_port: int = Field(default=8265, ge=1, le=65535)
    """Port of the Ray dashboard, which ``ray job submit`` uses too."""

    ray_port: int = Field(default=6379, ge=1, le=65536 - RAY_PORTS)
    """Port of Ray's head (GCS) on this machine. The next 31 ports are for Ray's agents, for Serve and for
    replicas."""

    @model_validator(mode="after")
    def _ports_are_free_of_ray_workers(self) -> Self:
        for name, width in (("api_port", 1), ("dashboard_port", 1), ("ray_port", RAY_PORTS)):
            first = getattr(self, name)
            for port in range(first, first + width):
                if port in RAY_WORKER_PORTS:
                    raise ValueError(
                        f"{name}={first} takes port {port}, but Ray's workers take ports "
                        f"{RAY_WORKER_PORTS.start} to {RAY_WORKER_PORTS[-1]}; choose another port"
                    )
        return self
