"""Compute the version of the pipeline. The version changes if the same bytes could give other chunks or
keywords.

A document needs no work if its last attempt had the same version and the same hash of the bytes. So after the
version has changed, every document is parsed and chunked again. A chunk whose text stays the same keeps its
id and is not embedded again.
"""

import json
from collections.abc import Mapping
from typing import Any

from cluster.engines import Fingerprint
from cluster.formats.recognition import Ocr
from cluster.records import digest
from cluster.settings import Settings
from data_jobs.stages.chunkers.table import chunker_for
from data_jobs.stages.keywords import KEYWORDS_VERSION
from data_jobs.stages.parsing.parser_version import parser_version
from data_jobs.stages.parsing.tesseract_program import installed


def pipeline_version(
    settings: Settings, fingerprint: Fingerprint, *, strategy: Mapping[str, Any] | None = None
) -> str:
    """Return a digest of the number of keywords, and the versions of parser, chunker, model and keywords.

    Args:
        settings: the settings of the job.
        fingerprint: fingerprint of the store's model.
        strategy: the ``chunking_strategy`` of the store or the file; None means ``auto``. The sizes of
            ``static`` are part of the version.
    """
    version, keywords = chunker_for(strategy).version, str(settings.keywords_per_document)
    if strategy is not None and strategy["type"] == "static":
        version += "-" + json.dumps(strategy["static"], sort_keys=True)
    parser = "/".join([parser_version(settings.pdf_parser), *_recognition(Ocr.of(settings))])
    return digest(parser, version, fingerprint.id, keywords, KEYWORDS_VERSION, size=8)


def _recognition(ocr: Ocr) -> list[str]:
    """Return the options and the version of Tesseract; empty if this node recognises nothing."""
    tesseract = None if ocr.mode == "off" else installed()
    return [f"ocr-{ocr.mode}-{ocr.tesseract_languages}-{tesseract.version}"] if tesseract else []
