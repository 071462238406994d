"""Fixtures of the tests of usage reports."""

import pytest
from psycopg_pool import ConnectionPool

from cluster.blobs import BlobStore, open_blob_store
from cluster.settings import Settings
from tests.cluster.usage_reports.billed import Billed, new_billed


@pytest.fixture(scope="session")
def blobs(settings: Settings) -> BlobStore:
    """The blob store of the shared cluster."""
    return open_blob_store(settings)


@pytest.fixture
def billed(pool: ConnectionPool, blobs: BlobStore) -> Billed:
    """A new organisation in Berlin whose periods begin on the 15th."""
    return new_billed(pool, blobs)
