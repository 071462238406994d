"""No replica serves without a key where other machines reach it, whatever file it was deployed with.

The address of the endpoint is Serve's, not the replica's: a copy of ``serve.yaml`` may name another than ``CLUSTER_API_HOST``. So the
replica asks the running Serve where it listens. Called by a deployment's ``__init__``; what it raises is in ``serve status``.

    require_key(settings)
"""

from ray.serve.context import _get_global_client

from cluster.errors import Misconfigured
from cluster.settings import Settings, is_loopback


def require_key(settings: Settings) -> None:
    """Pass where callers need a key, or are on this machine.

    Raises:
        Misconfigured: other machines reach the endpoint, and there is no key.
    """
    client = _get_global_client(raise_if_no_controller_running=False)
    host = None if client is None else client.http_config.host  # none: HTTP is switched off
    if host is not None and settings.api_key is None and not is_loopback(host):
        raise Misconfigured(
            f"Serve listens on {host}, which lets other machines in: set CLUSTER_API_KEY on every node, or host: 127.0.0.1"
        )
