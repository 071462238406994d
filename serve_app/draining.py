"""Tell whether Ray Serve has asked this replica to stop. ``/readyz`` then answers 503.

Serve 2.60 calls the deployment only at the very end (``__del__``). Until then, only a private attribute of
the replica shows that it is stopping. A test fails if that attribute disappears.

    build_api(service, stopping=stopping)
"""

from ray._private.worker import global_worker


def stopping() -> bool:
    """True as soon as Serve has asked the replica to stop. Works only inside a replica."""
    actor = global_worker.actors[global_worker.actor_id]
    return bool(actor._replica_impl._shutting_down)
