"""The version of the pipeline stays the same for stores that exist: another one would have every document parsed again."""

from importlib.metadata import version

from cluster.engines import describe
from cluster.records import digest
from cluster.settings import Settings
from data_jobs.stages.parsing.parser import PARSER_VERSION
from data_jobs.stages.pipeline_version import pipeline_version


def test_the_version_is_the_one_that_stores_have() -> None:
    """Parser 3 and chunker 2, and the packages in this order, are what the rows of today's documents were made with."""
    packages = ("pymupdf", "selectolax", "markdown-it-py", "chardet")
    assert "/".join(["3", *(f"{package}-{version(package)}" for package in packages)]) == PARSER_VERSION
    fingerprint = describe(Settings())
    expected = digest(PARSER_VERSION, "2", fingerprint.id, "10", size=8)
    assert pipeline_version(Settings(keywords_per_document=10), fingerprint) == expected
