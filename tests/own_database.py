"""A database of its own for a test that makes keys, because one key makes every request need one."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier
from pydantic import SecretStr

from cluster.settings import Settings


@contextmanager
def own_database(settings: Settings, url: str) -> Iterator[Settings]:
    """The settings with a new database in the same server.

    Args:
        url: URL of the server's other database.
    """
    name = f"own_{uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    try:
        own = make_conninfo(url, dbname=name)
        yield settings.model_copy(update={"database_url": SecretStr(own)})
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))
            for role in ("all_organisations", "application"):  # roles belong to the server
                connection.execute(SQL("DROP ROLE IF EXISTS {}").format(Identifier(f"{name}_{role}")))
