"""The Postgres database, and the connections that one process opens to it."""

from pydantic import Field, SecretStr

from cluster.settings.values import Concern


class DatabaseSettings(Concern):
    """The Postgres database, and the connections that one process opens to it."""

    database_url: SecretStr | None = None
    """Any Postgres >= 15 with pgvector, as ``postgresql://user:password@host/db``. Unset: the bundled server under ``home``."""

    database_pool_size: int = Field(default=8, ge=1, le=100)
    """Most connections one process opens."""
