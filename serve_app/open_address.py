"""Refuse to serve without a key if other machines can reach the endpoint.

Serve opens the endpoint, and a copy of ``serve.yaml`` may set another address than ``CLUSTER_API_HOST``. So
the replica asks the running Serve for the address. The deployment's ``__init__`` calls ``require_key``, and
``serve status`` shows the error.

    require_key(settings)
"""

from ray.serve.context import _get_global_client

from cluster.errors import Misconfigured
from cluster.settings import Settings, is_loopback


def require_key(settings: Settings) -> None:
    """Check that callers need a key, or that only this machine can reach the endpoint.

    Raises:
        Misconfigured: other machines can reach the endpoint, and no key is set.
    """
    client = _get_global_client(raise_if_no_controller_running=False)
    host = None if client is None else client.http_config.host  # None means that HTTP is switched off
    if host is not None and settings.api_key is None and not is_loopback(host):
        raise Misconfigured(
            f"Serve listens on {host}, which lets other machines in: set CLUSTER_API_KEY on every node, or "
            "host: 127.0.0.1"
        )
