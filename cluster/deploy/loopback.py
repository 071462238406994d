"""Keep a replica's own listener on the loopback interface, where the cluster is a single machine's.

Each replica of Ray Serve 2.60 opens a gRPC port on all interfaces, unpickles what arrives there, and has no setting for
the address. Called by a deployment's ``__init__``, which Serve runs before it opens the port.

    keep_to_loopback()
"""

import os
from typing import Any

from ray._common.tls_utils import add_port_to_grpc_server
from ray.serve._private import replica

#: Set to "0" by ``cluster.local`` in everything it starts; see docs/decisions/002.
SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def keep_to_loopback() -> None:
    """On a local cluster, let this replica listen to its own machine only; elsewhere change nothing."""
    if os.environ.get(SWITCH) != "0":
        return
    replica.add_port_to_grpc_server = _listen_on_loopback  # type: ignore[attr-defined]


def _listen_on_loopback(server: Any, address: str) -> int:
    port: int = add_port_to_grpc_server(server, address.replace("[::]", "127.0.0.1"))  # type: ignore[no-untyped-call]
    return port
