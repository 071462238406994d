"""Find out if Ray Serve has asked this replica to stop. ``/readyz`` then answers 503.

Serve 2.60 informs the deployment only at the very end, when it calls ``__del__``. Until then, only a private
attribute of the replica shows that the replica is stopping. A test fails if that attribute disappears.

    build_api(service, stopping=stopping)
"""

from ray._private.worker import global_worker


def stopping() -> bool:
    """Return True as soon as Serve has asked this replica to stop. Only a process of a replica can call this
    function.
    """
    actor = global_worker.actors[global_worker.actor_id]
    return bool(actor._replica_impl._shutting_down)
