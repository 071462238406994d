"""Resources that are slow to make and safe to share: each is made once per process, and every row uses it."""

from functools import cache

from psycopg_pool import ConnectionPool

from cluster.database import open_pool
from cluster.documents.indexing import ChunkIndexes
from cluster.engines import Tokeniser, open_tokeniser
from cluster.logs import configure
from cluster.settings import Settings


@cache
def configure_logs(settings: Settings) -> None:
    """Set the form of this process's log lines."""
    configure(settings)


@cache
def tokeniser(settings: Settings) -> Tokeniser:
    """The tokeniser of the model."""
    return open_tokeniser(settings)


@cache
def pool(settings: Settings) -> ConnectionPool:
    """Connections to the database."""
    return open_pool(settings, reviving=True)


@cache
def chunk_indexes(settings: Settings) -> ChunkIndexes:
    """The chunk indexes, on the connections of ``pool``."""
    return ChunkIndexes(settings, pool(settings))
