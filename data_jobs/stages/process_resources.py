"""Resources that are slow to make and safe to share: each is made once per process, and every row uses it."""

from functools import cache

from psycopg_pool import ConnectionPool

from cluster.database import open_pool
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.engines import Fingerprint, Registry, Tokeniser, open_tokeniser
from cluster.logs import configure
from cluster.settings import Settings


@cache
def configure_logs(settings: Settings) -> None:
    """Set the form of this process's log lines."""
    configure(settings)


@cache
def tokeniser(settings: Settings, fingerprint: Fingerprint) -> Tokeniser:
    """The tokeniser of the model with this fingerprint.

    Raises:
        Conflict: no model of the settings has it.
    """
    return open_tokeniser(Registry(settings).of(fingerprint))


@cache
def pool(settings: Settings) -> ConnectionPool:
    """Connections to the database."""
    return open_pool(settings, reviving=True)


@cache
def chunk_indexes(settings: Settings) -> ChunkIndexes:
    """The chunk indexes, on the connections of ``pool``."""
    return ChunkIndexes(settings, pool(settings))
