"""Rounds of the tests whose faults come at random moments: ``tests/faults`` and ``tests/nodes``.

The environment variable ``ROUNDS`` is the number of rounds (1 by default). ``SEED`` is the seed of the first
round, and every further round has the next seed. The id of a test contains its seed.

Their ``conftest.py`` imports ``chance`` and calls ``run_in_rounds``.
"""

import os
from random import Random

import pytest

ROUNDS = int(os.environ.get("ROUNDS", "1"))


def run_in_rounds(metafunc: pytest.Metafunc, *, default_seed: int) -> None:
    """Run a test with the fixture ``chance`` once in each round."""
    if "chance" in metafunc.fixturenames:
        first = int(os.environ.get("SEED", default_seed))
        seeds = range(first, first + ROUNDS)
        metafunc.parametrize("chance", seeds, ids=[f"seed {seed}" for seed in seeds], indirect=True)


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> Random:
    """Random numbers from the seed of the round."""
    return Random(request.param)
