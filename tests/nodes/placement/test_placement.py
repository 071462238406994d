"""The nodes that run stages and replicas: CPU work, shared GPUs, models by memory, several models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray
from psycopg_pool import ConnectionPool

from cluster.engines import Registry
from cluster.settings import Settings
from cluster.settings.models import ModelSetting
from cluster.settings.values import Table
from data_jobs import deployment as workers
from data_jobs import ingest
from data_jobs.bulk.report import IngestReport
from serve_app import main
from tests.nodes import sleeping_engine
from tests.nodes.placement.conftest import Fleet
from tests.waiting import until

pytestmark = pytest.mark.launch

#: Number of documents of a bulk ingest. They are six blocks, so at most six stages run at the same time.
DOCUMENTS = 24
#: The nodes of as many workers as fit on the nodes without GPUs.
FULL = ["cpu-1", "cpu-1", "cpu-2", "cpu-2"]


def with_models(settings: Settings, **models: dict[str, Any]) -> Settings:
    """Return the settings with these further models."""
    table = {name: ModelSetting(source="sleeping:64@20", **options) for name, options in models.items()}
    return settings.model_copy(update={"models": Table({**settings.models, **table})})


def record_nodes(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let every stage without a GPU leave a file with the name of the stage and the id of its node."""

    def recorded(name: str, run: Callable[[pa.Table], Any]) -> Callable[[pa.Table], Any]:
        def recording(table: pa.Table) -> Any:
            (folder / f"{name}@{ray.get_runtime_context().get_node_id()}").touch()
            return run(table)

        return recording

    for name in ("map_rows", "map_rows_to_many"):
        real = getattr(ingest, name)
        monkeypatch.setattr(
            ingest,
            name,
            lambda stage, *args, real=real, **fields: recorded(
                type(stage).__name__, real(stage, *args, **fields)
            ),
        )
    real_write = ingest.Write
    monkeypatch.setattr(ingest, "Write", lambda *args, **named: recorded("Write", real_write(*args, **named)))


def test_stages_without_a_gpu_run_on_nodes_without_gpus(
    settings: Settings, pool: ConnectionPool, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.add("cpu", cpus=8)
    fleet.add("gpu", cpus=8, gpus=1)
    documents, records = tmp_path / "documents", tmp_path / "records"
    documents.mkdir()
    records.mkdir()
    for number in range(DOCUMENTS):
        (documents / f"{number}.txt").write_text(f"Contract {number} ends without notice. " * 40)
    record_nodes(monkeypatch, records)
    model = Table({sleeping_engine.NAME: ModelSetting(source=sleeping_engine.SOURCE)})
    changed = {"model": sleeping_engine.NAME, "models": model, "gpus_per_engine_process": 0.25}
    report = IngestReport()
    ingest.ingest(settings.model_copy(update=changed), str(documents), "placed", report)
    assert report.outcomes == {"ok": DOCUMENTS}
    placed = {
        (name, fleet.name(node)) for name, _, node in (f.name.partition("@") for f in records.iterdir())
    }
    stages = ("Chunk", "Compare", "Keywords", "Parse", "Read", "Unpack", "Write")
    assert sorted(placed) == [(stage, "cpu") for stage in stages]


@pytest.mark.parametrize("placed", [FULL, [*FULL, "gpu"]], ids=["room", "full"])
def test_workers_leave_gpu_nodes_free_until_all_other_nodes_are_full(
    settings: Settings, fleet: Fleet, placed: list[str]
) -> None:
    fleet.add("gpu", cpus=8, gpus=1)
    fleet.add("cpu-1", cpus=1)
    fleet.add("cpu-2", cpus=1)
    number = {"min_workers": len(placed), "max_workers": len(placed)}
    fleet.deploy(workers.options(settings.model_copy(update=number)))
    until(lambda: len(fleet.replicas("worker")) == len(placed), what="the workers")
    assert fleet.replicas("worker") == placed


def test_four_replicas_share_a_gpu_by_a_fraction_and_the_fifth_waits_for_another_gpu(
    settings: Settings, fleet: Fleet
) -> None:
    fleet.add("gpu-1", cpus=8, gpus=1)
    changed = {"gpus_per_engine_process": 0.25, "min_replicas": 5, "max_replicas": 5}
    fleet.deploy(main.options(settings.model_copy(update=changed), gpus=1))
    until(lambda: len(fleet.replicas("embedder")) == 4, what="four replicas on one GPU")
    fleet.add("gpu-2", cpus=8, gpus=1)
    until(lambda: len(fleet.replicas("embedder")) == 5, what="a fifth replica")
    assert fleet.replicas("embedder") == ["gpu-1"] * 4 + ["gpu-2"]


def test_a_node_runs_only_the_models_that_its_memory_has_room_for(settings: Settings, fleet: Fleet) -> None:
    fleet.add("node-1", cpus=8, memory_gib=8)
    both = with_models(settings, large={"memory_gib": 6}, small={"memory_gib": 3})
    large, small = (Registry(both).named(name) for name in ("large", "small"))
    fleet.deploy(main.model_options(large, gpus=0), main.model_options(small, gpus=0))
    nodes = lambda: fleet.replicas("embedder-large") + fleet.replicas("embedder-small")  # noqa: E731
    until(lambda: len(nodes()) == 1, what="one model on the first node")
    fleet.add("node-2", cpus=8, memory_gib=8)
    until(lambda: len(nodes()) == 2, what="the other model on the second node")
    assert sorted(nodes()) == ["node-1", "node-2"]


def test_several_models_share_a_fleet_each_on_nodes_with_what_it_needs(
    settings: Settings, fleet: Fleet
) -> None:
    fleet.add("gpu-1", cpus=4, gpus=1)
    fleet.add("gpu-2", cpus=4, gpus=1)
    fleet.add("cpu", cpus=4)
    models = with_models(
        settings,
        large={"gpus": 1},
        small={"gpus": 0.5, "min_replicas": 2, "max_replicas": 2},
        processor={"gpus": 0},
    ).model_copy(update={"gpus_per_engine_process": 0.0})
    fleet.deploy(
        main.options(models, gpus=2),
        *(
            main.model_options(Registry(models).named(name), gpus=2)
            for name in ("large", "small", "processor")
        ),
        workers.options(models),
    )
    found = lambda name: fleet.replicas(name)  # noqa: E731
    names = ("embedder", "embedder-large", "embedder-small", "embedder-processor", "worker")
    until(lambda: [len(found(name)) for name in names] == [1, 1, 2, 1, 1], what="all replicas")
    assert found("embedder") == found("embedder-processor") == found("worker") == ["cpu"]
    assert len(set(found("embedder-large") + found("embedder-small"))) == 2
