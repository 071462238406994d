"""Name the Serve deployments that compute vectors, and call them, without importing Ray.

Most models run in the replicas of the endpoint (``ENDPOINT``). A model with ``gpus``, ``min_replicas`` or
``max_replicas`` in ``CLUSTER_MODELS`` has a deployment of its own. The endpoint and the workers use this
module. Each call names the fingerprint, so a replica with other weights refuses the call.

    deployment_of(settings, "all-MiniLM-L6-v2")       # "embedder"
    deployment_of(settings, "bge-large")              # "embedder-bge-large"
    vectors = await call_replica(handle, ids, ModelCall(...), faults=UNANSWERED)
"""

import asyncio
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cluster.errors import ClusterError, Unavailable, last_line
from cluster.records import digest
from cluster.settings import Settings
from cluster.tracing import trace_argument

#: Name of the Serve application with the endpoint and the models, as in ``serve.yaml``.
APPLICATION = "embedding-cluster"
#: Name of the endpoint's deployment.
ENDPOINT = "embedder"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCall:
    """The arguments of a call to a replica, except the inputs."""

    #: Id of the fingerprint of the model that the token ids were made for.
    fingerprint: str
    #: Organisation that sends the inputs. The batcher gives each organisation a share of the model.
    organisation: str
    #: True if a person waits for the answer.
    urgent: bool
    #: Seconds from now after which the answer is useless.
    deadline_s: float = math.inf


def own_deployment(model: str) -> str:
    """Return the name of the model's own deployment.

    Serve puts this name into the names of files and actors, so unusual characters are replaced. A digest
    keeps two names apart that differ only in replaced characters.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", model)
    return f"{ENDPOINT}-{plain}" if plain == model else f"{ENDPOINT}-{plain}-{digest(model, size=4)}"


def deployment_of(settings: Settings, model: str) -> str:
    """Return the name of the deployment that computes the vectors of the model with this name."""
    setting = settings.models.get(model)
    return own_deployment(model) if setting is not None and setting.own_deployment else ENDPOINT


async def call_replica(
    handle: Any, ids: Sequence[NDArray[np.int32]], call: ModelCall, *, faults: tuple[type[Exception], ...]
) -> NDArray[np.float32]:
    """Return the vectors of n tokenised inputs: (n, dim) float32. Any replica of the deployment may answer.

    Args:
        handle: Serve's handle of the deployment.
        ids: token ids of each input, without special tokens.
        call: the other arguments.
        faults: the exceptions with which Ray reports that no replica answered.

    Raises:
        Conflict: the model of the replicas has another fingerprint.
        Unavailable: a replica died, or there is no replica.
        Throttled: the replica's queue is full, or the deadline cannot be met.
        CancelledError: the caller or the replica cancelled the call.
    """
    response = handle.embed_ids.remote(
        list(ids),
        fingerprint=call.fingerprint,
        organisation=call.organisation,
        lane="interactive" if call.urgent else "bulk",
        deadline_s=call.deadline_s,
        **trace_argument(),
    )
    return cast("NDArray[np.float32]", await answer_of(response, faults=faults))


async def answer_of(response: Any, *, faults: tuple[type[Exception], ...]) -> Any:
    """Wait for the answer of a replica, and translate its errors.

    Args:
        response: Serve's response, from the handle of a deployment.
        faults: the exceptions with which Ray reports that no replica answered.

    Raises:
        ClusterError: the replica refused the call.
        Unavailable: a replica died, or there is no replica.
        CancelledError: the caller or the replica cancelled the call.
    """
    try:
        return await response
    except asyncio.CancelledError:
        response.cancel()  # so that the replica drops inputs for which no caller waits
        raise
    except ClusterError as exc:
        # Ray raises a copy of the error whose message is the whole remote traceback. Raise the original
        # error, because its message is a sentence for people.
        raise getattr(exc, "cause", exc) from exc
    except faults as exc:
        # The text of an error of gRPC has several lines, and its sentence is one of its details.
        reason = exc.details() if hasattr(exc, "details") else last_line(exc)
        raise Unavailable(f"the model did not answer: {reason}") from exc
