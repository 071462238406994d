"""The stages alone: no Ray, no database."""

from collections.abc import Iterator

import pytest

from cluster.settings import Settings
from data_jobs.stages.parsing.parser import Parser


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    """A parser with the limits it has by default."""
    with Parser(Settings()) as parser:
        yield parser
