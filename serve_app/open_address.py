"""Find out if other machines can reach the running Serve.

Serve opens the endpoint, and a copy of ``serve.yaml`` may set another address than ``CLUSTER_API_HOST``. So
the replica asks the running Serve for the address. The deployment's ``__init__`` calls this module. If other
machines can connect and no key exists, the replica does not start, and ``serve status`` shows the error.

    keyless = only_this_machine(settings)
"""

from ray.serve.context import _get_global_client

from cluster.keys.open_address import require_key
from cluster.settings import Settings, is_loopback


def only_this_machine(settings: Settings) -> bool:
    """Return True if only this machine can reach the endpoint over HTTP, so that requests need no key.

    Raises:
        Misconfigured: other machines can reach the endpoint, and there is no key.
    """
    client = _get_global_client(raise_if_no_controller_running=False)
    host = None if client is None else client.http_config.host  # None if HTTP is switched off
    if host is None:
        return True
    require_key(settings, host)
    return is_loopback(host)
