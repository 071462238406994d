"""One Ray for all tests of the pipeline, as a job would connect to it; it ends with the last of them."""

from collections.abc import Iterator

import pytest

from cluster.settings import Settings
from data_jobs.bulk.ray_session import ray_session


@pytest.fixture(scope="package")
def ray_cluster(settings: Settings) -> Iterator[None]:
    """Ray, connected; every ``ingest`` runs on it."""
    with ray_session(settings):
        yield
