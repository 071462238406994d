"""One Ray cluster for all tests of the pipeline, connected as a job connects; it ends with the last test."""

from collections.abc import Iterator

import pytest

from cluster.settings import Settings
from data_jobs.bulk.ray_session import ray_session


@pytest.fixture(scope="package")
def ray_cluster(settings: Settings) -> Iterator[None]:
    """A connection to Ray, on which every ``ingest`` runs."""
    with ray_session(settings):
        yield
