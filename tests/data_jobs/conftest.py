"""One Ray for all tests of the pipeline, as a job would connect to it."""

from collections.abc import Iterator

import pytest

from cluster.settings import Settings
from data_jobs.ray_session import ray_session


@pytest.fixture(scope="session")
def ray_cluster(settings: Settings) -> Iterator[None]:
    """Ray, connected; every ``ingest`` of the session runs on it."""
    with ray_session(settings):
        yield
