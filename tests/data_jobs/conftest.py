"""One Ray cluster for all tests of the pipeline, connected as a job connects; it ends with the last test."""

import os
from collections.abc import Iterator

import pytest

from cluster.settings import Settings
from data_jobs.bulk.ray_session import ray_session

#: By default Ray ends a worker after an idle second, and the next run starts and imports everything again.
KEEP_WORKERS = {"RAY_idle_worker_killing_time_threshold_ms": "600000", "RAY_num_workers_soft_limit": "32"}


@pytest.fixture(scope="package")
def ray_cluster(settings: Settings) -> Iterator[None]:
    """A connection to Ray, on which every ``ingest`` runs."""
    os.environ.update(KEEP_WORKERS)
    with ray_session(settings):
        for name in KEEP_WORKERS:
            del os.environ[name]
        yield
