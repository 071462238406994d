"""Decide how many engines and how many tasks a bulk ingest has, and what each of them asks Ray for.

dataset.map_batches(parse, **tasks(settings, model)).map_batches(Embed, **engines(settings, model, fields))
"""

from typing import Any

import ray
from ray.data import ActorPoolStrategy, TaskPoolStrategy

from cluster.deploy.gpu_nodes import away_from_gpus
from cluster.engines import Fingerprint, ModelEntry, Registry
from cluster.engines.choice.processor import granted_cores
from cluster.settings import Settings

#: Number of documents in one call of an engine. This number of documents has enough chunks to group the
#: chunks by length, and few enough chunks to fit into memory.
DOCUMENTS_PER_BATCH = 8
#: CPUs of a task of a stage that does not embed. The task waits for the parser and for Postgres. This share
#: must differ from the engine's share. If the shares were equal, Ray Data would run these stages inside the
#: engine's actor, one after the other.
CPUS_PER_TASK = 0.5


def engines(settings: Settings, model: Fingerprint, fields: dict[str, str]) -> dict[str, Any]:
    """Return the options of the stage that embeds, such as the size of the actor pool, and the share of a GPU
    or the number of CPUs for each engine.
    """
    entry, gpus = Registry(settings).of(model), _resource("GPU")
    share = _gpu_share(settings, entry)
    size = settings.bulk_engines or (max(1, int(gpus / share)) if share else 1)
    return {
        "fn_constructor_kwargs": fields,
        "compute": ActorPoolStrategy(size=size),
        "batch_format": "pyarrow",
        "batch_size": DOCUMENTS_PER_BATCH,
        **({"num_gpus": share} if share else {"num_cpus": 1, **away_from_gpus()}),
        **({"memory": int(entry.memory_gib * 2**30)} if entry.memory_gib else {}),
    }


def tasks(settings: Settings, model: Fingerprint) -> dict[str, Any]:
    """Return the options of the stages that do not embed.

    If an engine computes on the same CPUs, at most one task for each core runs at the same time. The engine
    uses nearly all of the CPU time, and each process of a task costs some seconds of it to start (075).
    """
    on_cpus = not _gpu_share(settings, Registry(settings).of(model)) and not model.by_provider
    return {
        "batch_format": "pyarrow",
        "batch_size": 1,
        "num_cpus": CPUS_PER_TASK,
        **({"compute": TaskPoolStrategy(size=_cores())} if on_cpus else {}),
        **away_from_gpus(),
    }


def _gpu_share(settings: Settings, entry: ModelEntry) -> float:
    """Return the number of GPUs, or the share of one GPU, of each engine; 0 if engines compute on CPUs."""
    own = entry.options.gpus
    return settings.gpu_share(_resource("GPU")) if own is None else own


def _cores() -> int:
    """Return the number of cores of the Ray cluster. A small machine has fewer cores than CPUs (002)."""
    cpus = max(1, int(_resource("CPU")))
    nodes = sum(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]
    return min(cpus, granted_cores()) if nodes == 1 else cpus


def _resource(name: str) -> float:
    """Return how much of the resource the Ray cluster has."""
    amount: float = ray.cluster_resources().get(name, 0.0)  # type: ignore[no-untyped-call]
    return amount
