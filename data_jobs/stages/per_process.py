"""What is costly to make and safe to share: made once a process, used by every row that passes through it."""

from functools import cache

from psycopg_pool import ConnectionPool

from cluster.database import open_pool
from cluster.engines import describe, open_tokeniser
from cluster.logs import configure
from cluster.settings import Settings
from cluster.vector_index import VectorIndex, open_vector_index
from data_jobs.stages.chunk import Chunker
from data_jobs.stages.keywords import KeywordExtractor
from data_jobs.stages.parse import Parser


@cache
def logs(settings: Settings) -> None:
    """This process's log lines in the one form."""
    configure(settings)


@cache
def parser(settings: Settings) -> Parser:
    """The process that parses documents, one at a time."""
    return Parser(settings)


@cache
def chunker(settings: Settings, fingerprint_id: str) -> Chunker:
    """The model's tokeniser and the chunker on it; chunks leave room for the prompt that documents are read behind."""
    tokeniser = open_tokeniser(settings)
    (prompt,) = tokeniser.ids([describe(settings).document_prompt])
    return Chunker(tokeniser, fingerprint_id, max_tokens=tokeniser.max_content_tokens - len(prompt))


@cache
def keyword_extractor(per_document: int) -> KeywordExtractor:
    """YAKE with its tables loaded."""
    return KeywordExtractor(per_document)


@cache
def pool(settings: Settings) -> ConnectionPool:
    """Connections to the one Postgres."""
    return open_pool(settings)


@cache
def vector_index(settings: Settings) -> VectorIndex:
    """The vector index on that pool."""
    return open_vector_index(settings, pool(settings))
