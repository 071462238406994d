"""Fixtures of the stages, which need neither Ray nor a database."""

from collections.abc import Iterator

import pytest

from cluster.settings import Settings
from data_jobs.stages.parsing.parser import Parser


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    """A parser with the default limits."""
    with Parser(Settings()) as parser:
        yield parser
