"""A model without weights, for the tests of jobs whose promise does not depend on the vectors."""

from collections.abc import Iterator

import pytest

from cluster.engines import Engine, Registry, open_engine
from cluster.settings import Settings
from tests.hashing_engine import hashing_settings


@pytest.fixture(scope="module")
def only_hashing(settings: Settings) -> Iterator[Settings]:
    """Settings whose only model is the one without weights."""
    with hashing_settings(settings) as changed:
        yield changed


@pytest.fixture(scope="module")
def hashing_engine(only_hashing: Settings) -> Engine:
    """The engine of that model."""
    return open_engine(Registry(only_hashing).default)
