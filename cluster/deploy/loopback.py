"""Keeps the gRPC port of a replica on the loopback interface if the cluster is local.

Each replica of Ray Serve 2.60 opens a gRPC port on all interfaces and unpickles everything that it receives
there. Serve has no setting for the address. The ``__init__`` of a deployment calls ``keep_to_loopback``,
because Serve opens the port after ``__init__``.

    keep_to_loopback()
"""

import os
from typing import Any

from ray._common.tls_utils import add_port_to_grpc_server
from ray.serve._private import replica

#: Environment variable that ``cluster.local`` sets to "0" in every process that it starts; see
#: docs/decisions/002.
SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def keep_to_loopback() -> None:
    """On a local cluster, make this replica listen on the loopback interface only; elsewhere do nothing."""
    if os.environ.get(SWITCH) != "0":
        return
    replica.add_port_to_grpc_server = _listen_on_loopback  # type: ignore[attr-defined]


def _listen_on_loopback(server: Any, address: str) -> int:
    here = address.replace("[::]", "127.0.0.1")
    port: int = add_port_to_grpc_server(server, here)  # type: ignore[no-untyped-call]
    return port
