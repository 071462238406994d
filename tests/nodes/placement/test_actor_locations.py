"""An ingest does not depend on the node on which an earlier one ran."""

import pytest
import ray
from ray.data._internal.execution.node_trackers import get_or_create_actor_location_tracker

from data_jobs.bulk.actor_locations import create_actor_locations
from tests.nodes.placement.conftest import Fleet

pytestmark = pytest.mark.launch


def test_it_goes_on_after_the_loss_of_that_node(fleet: Fleet) -> None:
    @ray.remote(num_cpus=1)
    def earlier() -> None:
        """Do what the command of an ingest does on its node."""
        create_actor_locations()
        ray.get(get_or_create_actor_location_tracker().get_actor_locations.remote([]))

    class Engine:
        """A stage with a pool of actors, as the engines of an ingest are."""

        def __call__(self, row: dict[str, int]) -> dict[str, int]:
            return {"twice": 2 * row["id"]}

    fleet.add("first", cpus=1)
    ray.get(earlier.remote())
    fleet.add("second", cpus=2)
    fleet.lose("first")
    rows = ray.data.range(4).map(Engine, concurrency=1, num_cpus=1).take_all()
    assert sorted(row["twice"] for row in rows) == [0, 2, 4, 6]
