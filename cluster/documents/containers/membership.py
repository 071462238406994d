"""Find the entries that are detached from a vector store, or deleted, together with their container.

``store_files`` calls these functions when it detaches a file, and ``files`` when it deletes a file.

    lock_if_container(connection, "default", "file-1")
    unshared_entries(connection, "default", "file-1")
"""

from typing import Any

from psycopg import Connection

from cluster.database.queries import queries

SQL = queries("cluster.documents.containers", "membership.sql")


def lock_entries(connection: Connection[Any], organisation: str) -> None:
    """Take the lock on the entries of all containers of the organisation, until the transaction ends. Call
    this function before any row of a file is locked, because another order could cause a deadlock.
    """
    connection.execute(SQL["lock"], {"organisation": organisation})


def lock_if_container(connection: Connection[Any], organisation: str, file: str) -> bool:
    """Call ``lock_entries`` if the file is a container. Return True if the file is a container."""
    found = connection.execute(SQL["is_container"], {"organisation": organisation, "file": file}).fetchone()
    if found != (True,):
        return False
    lock_entries(connection, organisation)
    return True


def unshared_entries(connection: Connection[Any], organisation: str, container: str) -> list[str]:
    """Return the ids of the container's entries that no other container has."""
    values = {"organisation": organisation, "file": container}
    return [file for (file,) in connection.execute(SQL["unshared"], values).fetchall()]


def entries_left_in_store(
    connection: Connection[Any], organisation: str, store: str, container: str
) -> list[str]:
    """Return the ids of those entries of the container that are attached to the store, although no container
    with the entry is attached. Call this function after the container was detached.
    """
    values = {"organisation": organisation, "vector_store": store, "file": container}
    return [file for (file,) in connection.execute(SQL["left_in_store"], values).fetchall()]


def entries_in_store(connection: Connection[Any], organisation: str, store: str, container: str) -> list[str]:
    """Return the ids of the container's entries that are attached to the store."""
    values = {"organisation": organisation, "vector_store": store, "file": container}
    return [file for (file,) in connection.execute(SQL["in_store"], values).fetchall()]
