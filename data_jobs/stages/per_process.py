"""What is costly to make and safe to share: made once a process, used by every row that passes through it."""

from functools import cache

from psycopg_pool import ConnectionPool

from cluster.database import open_pool
from cluster.engines import Tokeniser, describe, open_tokeniser
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
def tokeniser(settings: Settings) -> Tokeniser:
    """The model's."""
    return open_tokeniser(settings)


@cache
def chunker(settings: Settings, fingerprint_id: str, max_tokens: int | None = None) -> Chunker:
    """The chunker on the model's tokeniser; chunks leave room for the prompt that documents are read behind."""
    (prompt,) = tokeniser(settings).ids([describe(settings).document_prompt])
    most = tokeniser(settings).max_content_tokens - len(prompt)
    return Chunker(tokeniser(settings), fingerprint_id, max_tokens=min(max_tokens or most, most))


@cache
def keyword_extractor(per_document: int) -> KeywordExtractor:
    """YAKE with its tables loaded."""
    return KeywordExtractor(per_document)


@cache
def pool(settings: Settings) -> ConnectionPool:
    """Connections to the one Postgres."""
    return open_pool(settings, reviving=True)


@cache
def vector_index(settings: Settings) -> VectorIndex:
    """The vector index on that pool."""
    return open_vector_index(settings, pool(settings))
