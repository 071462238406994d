"""Whether Serve has told this replica to stop.

Asked by ``/readyz``, so that whatever still reaches a draining replica sees it.

Serve 2.60 tells the deployment only when everything is over (``__del__``), and keeps in the replica's own
object that it has begun; hence a look at a private attribute, which a test guards.

    build_api(service, stopping=stopping)
"""

from ray._private.worker import global_worker


def stopping() -> bool:
    """True from the moment the replica is told to stop until it ends. Called in a replica only."""
    actor = global_worker.actors[global_worker.actor_id]
    return bool(actor._replica_impl._shutting_down)
