"""The pipeline version stays the same for existing stores, so that no document is parsed again."""

from dataclasses import replace
from importlib.metadata import version

import pytest

from cluster.engines import Registry, describe
from cluster.errors import InvalidInput
from cluster.formats import PDF_PARSERS, READABLE
from cluster.records import digest
from cluster.settings import Settings
from data_jobs.stages.chunkers.table import CHUNKERS, chunker_for, find_chunker
from data_jobs.stages.parsing.parser_version import parser_version, version_of
from data_jobs.stages.pipeline_version import pipeline_version


def test_the_version_names_the_packages_of_all_formats() -> None:
    """Documents were made with parser 3, chunker 2, keywords 2 and the installed packages of the formats."""
    parts = parser_version("pymupdf").split("/")
    packages = {package for row in READABLE for package in row.libraries}
    assert parts[0] == "3"
    assert {f"{package}-{version(package)}" for package in packages} <= set(parts)
    fingerprint = describe(Registry(Settings()).default)
    expected = digest(parser_version("pymupdf"), "2", fingerprint.id, "10", "2", size=8)
    settings = Settings(keywords_per_document=10)
    assert pipeline_version(settings, fingerprint) == expected
    assert pipeline_version(settings, fingerprint, strategy={"type": "auto"}) == expected


def test_each_chunker_and_each_size_has_a_version_of_its_own() -> None:
    fingerprint = describe(Registry(Settings()).default)
    sizes = [(800, 0), (400, 0), (800, 400)]
    static = [
        {"type": "static", "static": {"max_chunk_size_tokens": most, "chunk_overlap_tokens": overlap}}
        for most, overlap in sizes
    ]
    others = [{"type": type} for type in ("auto", "headings", "semantic", "none")]
    versions = {pipeline_version(Settings(), fingerprint, strategy=one) for one in [*static, *others]}
    assert len(versions) == 7


def test_a_strategy_chooses_its_chunker() -> None:
    def name(overlap: int) -> str:
        sizes = {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": overlap}
        return chunker_for({"type": "static", "static": sizes}).name

    assert (chunker_for(None).name, name(0), name(1)) == ("content-defined", "content-defined", "fixed")
    assert [chunker_for(entry.strategy) for entry in CHUNKERS] == list(CHUNKERS)


def test_a_new_format_and_a_new_version_of_a_parser_change_the_version() -> None:
    first, *others = READABLE
    versions = {
        version_of(READABLE),
        version_of([*READABLE, replace(first, media_type="text/csv", libraries=())]),
        version_of([replace(first, parser_version=8), *others]),
        version_of([replace(first, parser_version=9), *others]),
        version_of([replace(first, libraries=("numpy",)), *others]),
    }
    assert len(versions) == 5


def test_the_library_that_reads_pdf_is_part_of_the_version() -> None:
    fingerprint = describe(Registry(Settings()).default)
    versions = {pipeline_version(Settings(pdf_parser=name), fingerprint) for name in PDF_PARSERS}
    assert len(versions) == len(PDF_PARSERS)


def test_every_chunker_has_a_version_of_its_own() -> None:
    assert len({entry.version for entry in CHUNKERS}) == len(CHUNKERS)


def test_a_chunker_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no chunker 'old'; choose one of content-defined, headings"):
        find_chunker("old")
    with pytest.raises(InvalidInput, match="'old'; choose one of auto, static, headings"):
        chunker_for({"type": "old"})
