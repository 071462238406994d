"""A bulk ingest starts no more processes than can work at the same time."""

from typing import Any

import pytest

from cluster.engines import Registry, describe
from cluster.engines.choice.processor import granted_cores
from cluster.settings import Settings
from cluster.settings.models import ModelSetting
from cluster.settings.values import Table
from data_jobs.bulk.placement import tasks

pytestmark = [pytest.mark.launch, pytest.mark.usefixtures("ray_cluster")]


def options(settings: Settings) -> dict[str, Any]:
    """Return the options of the stages for the default model."""
    return tasks(settings, describe(Registry(settings).default))


def test_beside_an_engine_on_cpus_each_core_has_one_task(settings: Settings) -> None:
    assert options(settings)["compute"].size == granted_cores()
    on_gpus = settings.model_copy(update={"gpus_per_engine_process": 1.0})
    assert "compute" not in options(on_gpus)
    at_provider = Settings(
        home=settings.home,
        model="small",
        models=Table({"small": ModelSetting(source="openai:text-embedding-3-small")}),
    )
    assert "compute" not in options(at_provider)
