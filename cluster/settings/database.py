"""The Postgres server, and the connections of one process to it."""

from pydantic import Field, SecretStr

from cluster.settings.values import Concern


class DatabaseSettings(Concern):
    """The Postgres server, and the connections of one process to it."""

    database_url: SecretStr | None = None
    """A Postgres server of version 15 or later with pgvector, as ``postgresql://user:password@host/db``.
    Unset: the bundled server, with its data under ``home``."""

    migrate_at_start: bool = True
    """True: the first process of a new release that connects to the database upgrades the database. False:
    processes refuse a database that needs an upgrade until ``python -m cluster.upgrade --apply`` has run."""

    database_pool_size: int = Field(default=8, ge=1, le=100)
    """Maximum number of connections in the pool of one process. A worker opens up to four more for the queue.
    All processes together must stay below the server's ``max_connections``."""
