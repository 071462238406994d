"""Keep replicas and tasks that need no GPU away from nodes with GPUs, as long as other nodes have room.

Ray itself does this only for tasks and actors with its default scheduling strategy. Serve and Ray Data use
the strategy SPREAD, which fills all nodes evenly. Without this module, parsers could take the CPUs that the
engines on a GPU node need. The applications and the bulk jobs therefore add the options of this module to
each deployment and each stage without a GPU.

    serve.deployment(ray_actor_options={"num_cpus": 0.5, **away_from_gpus()})
    dataset.map_batches(parse, num_cpus=0.5, **away_from_gpus())
"""

from typing import Any

import ray
from ray.util.accelerators import accelerators

#: Label that Ray gives to a node with a GPU or another accelerator. The value is the model of the card.
ACCELERATOR = "ray.io/accelerator-type"
#: Models of the cards that Ray has names for. All of these models are avoided, because the autoscaler may
#: start nodes with these cards later.
KNOWN_MODELS = frozenset(
    value for name, value in vars(accelerators).items() if not name.startswith("_") and isinstance(value, str)
)


def away_from_gpus() -> dict[str, Any]:
    """Return options for Ray that prefer nodes without an accelerator.

    If no such node has room, Ray uses the nodes with an accelerator. A card that is not in ``KNOWN_MODELS``
    is recognised only if a node with this card is in the cluster now.
    """
    nodes = ray.nodes() if ray.is_initialized() else []  # type: ignore[no-untyped-call]
    present = {node["Labels"][ACCELERATOR] for node in nodes if ACCELERATOR in node["Labels"]}
    models = sorted(KNOWN_MODELS | present)
    return {
        "label_selector": {ACCELERATOR: f"!in({','.join(models)})"},
        "fallback_strategy": [{"label_selector": {}}],
    }
