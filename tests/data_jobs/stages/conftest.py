"""Fixtures of the stages, which need neither Ray nor a database."""

from collections.abc import Iterator

import pytest

from cluster.settings import Settings
from data_jobs.stages.parsing.parser import Parser


@pytest.fixture(scope="session")
def parser() -> Iterator[Parser]:
    """A parser with the default limits. Its process starts once, and again after a test that kills it."""
    with Parser(Settings()) as parser:
        yield parser
