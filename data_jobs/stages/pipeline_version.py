"""The version of the pipeline: it changes whenever the same bytes could give other chunks.

A document is settled when the version and the hash of its bytes are those of its last attempt. A new version
therefore parses and chunks every document again; a chunk whose text stays the same keeps its id and is not
embedded again.
"""

from cluster.engines import Fingerprint
from cluster.records import digest
from cluster.settings import Settings
from data_jobs.stages.chunkers.table import DEFAULT_CHUNKER, find_chunker
from data_jobs.stages.parsing.parser import PARSER_VERSION


def pipeline_version(settings: Settings, fingerprint: Fingerprint, *, chunker: str = DEFAULT_CHUNKER) -> str:
    """Digest of the parser's, the chunker's and the model's versions and of the number of keywords."""
    version = find_chunker(chunker).version
    return digest(PARSER_VERSION, version, fingerprint.id, str(settings.keywords_per_document), size=8)
