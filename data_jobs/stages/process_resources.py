"""Make resources once per process, because they are slow to make and safe to share. All rows of the process
share these resources.
"""

from functools import cache

from psycopg_pool import ConnectionPool

from cluster.database import open_pool, organisation_access
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.engines import Fingerprint, Registry, Tokeniser, open_tokeniser
from cluster.logs import configure
from cluster.settings import Settings
from cluster.tracing import start_tracing


@cache
def configure_logs(settings: Settings) -> None:
    """Set the format of this process's log lines, and begin to record spans if ``CLUSTER_TRACING`` is on."""
    configure(settings, process="bulk")
    start_tracing(settings, process="bulk")


@cache
def tokeniser(settings: Settings, fingerprint: Fingerprint) -> Tokeniser:
    """Return the tokeniser of the model with this fingerprint.

    Raises:
        Conflict: no model of the settings has this fingerprint.
    """
    return open_tokeniser(Registry(settings).of(fingerprint))


def special_tokens(settings: Settings, fingerprint: Fingerprint) -> int:
    """Return the number of tokens that the model reads of each chunk besides those of its text. Usage and
    reservations include these tokens, as the usage of requests does.

    Raises:
        Conflict: no model of the settings has this fingerprint.
    """
    return tokeniser(settings, fingerprint).special_tokens


@cache
def pool(settings: Settings) -> ConnectionPool:
    """Return the pool of connections to the database. Without another row access, a connection reaches the
    rows of the settings' organisation.
    """
    return open_pool(settings, reviving=True, access=organisation_access(settings.organisation))


@cache
def chunk_indexes(settings: Settings) -> ChunkIndexes:
    """Return the chunk indexes, which use the connections of ``pool``."""
    return ChunkIndexes(settings, pool(settings))
