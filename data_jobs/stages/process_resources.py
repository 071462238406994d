"""What is costly to make and safe to share: made once a process, used by every row that passes through it."""

from functools import cache

from psycopg_pool import ConnectionPool

from cluster.database import open_pool
from cluster.documents.indexing import ChunkIndexes
from cluster.engines import Tokeniser, open_tokeniser
from cluster.logs import configure
from cluster.settings import Settings


@cache
def configure_logs(settings: Settings) -> None:
    """This process's log lines in the one form."""
    configure(settings)


@cache
def tokeniser(settings: Settings) -> Tokeniser:
    """The model's."""
    return open_tokeniser(settings)


@cache
def pool(settings: Settings) -> ConnectionPool:
    """Connections to the one Postgres."""
    return open_pool(settings, reviving=True)


@cache
def chunk_indexes(settings: Settings) -> ChunkIndexes:
    """The chunk indexes on that pool."""
    return ChunkIndexes(settings, pool(settings))
