"""Names the exceptions with which a call of a Serve handle ends if no replica answers.

Deployments call each other over gRPC (``ray.env``). Serve turns the gRPC status UNAVAILABLE into an exception
of Ray. Every other status, such as that of a replica that stops in the middle of a call, is an ``RpcError``.

    vectors = await call_replica(handle, ids, call, faults=UNANSWERED)
"""

from grpc import RpcError
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

UNANSWERED: tuple[type[Exception], ...] = (RayError, RayServeException, RpcError)
