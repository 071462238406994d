"""Keep the ingests of a cluster independent of the node on which the first of them ran.

Ray Data 2.60 asks one actor for the places of the engines. All ingests of a cluster share this actor. Ray
Data creates it on the node of the driver that first needs it, and it may run on no other node. After the loss
of that node, every running ingest failed, wherever it ran. An actor that exists already is used as it is.

    ray.init(address="auto")
    create_actor_locations()
"""

from typing import Any

from ray.data._internal.execution.node_trackers import ActorLocationTracker

#: Ray Data's name of the actor, and of its namespace.
NAME = "ActorLocationTracker"
#: Ray Data's number of calls that the actor answers at the same time.
CONCURRENCY = 8


def create_actor_locations() -> None:
    """Create the actor without a node of its own, if it does not exist. Ray starts it again on any node."""
    actor: Any = ActorLocationTracker
    actor.options(
        name=NAME, namespace=NAME, get_if_exists=True, lifetime="detached", max_concurrency=CONCURRENCY
    ).remote()
