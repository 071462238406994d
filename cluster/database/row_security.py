"""Create the roles of the application, and row-level security for every table with rows of organisations.

``migrate`` calls ``complete`` at each start, so a migration that adds a table needs no policy of its own.
Chunk tables are created while the cluster runs; the code that creates one calls ``protect``.

    if incomplete(connection): complete(connection)

The owner of the tables, who runs the migrations, is not restricted. All other statements run as one of two
roles without log-in: ``<database>_application`` reaches the rows of the organisation that the setting
``cluster.organisation`` names, and ``<database>_all_organisations`` reaches all rows. See ``row_access``.
"""

from typing import Any

import structlog
from psycopg import Connection
from psycopg.errors import InsufficientPrivilege
from psycopg.sql import SQL, Composable, Identifier

from cluster.database.queries import queries

log = structlog.get_logger(__name__)

STATEMENTS = queries("cluster.database", "row_security.sql")
#: Tables that a request of one organisation reads across all organisations, to give each one its share of a
#: provider's rate limit. Their rows hold ids and amounts, and no route shows them.
SHARED_TABLES = ("rate_claims", "rate_turns")
#: Chunk tables. A search reads them by two index operators that Postgres uses under row-level security only
#: if their functions are marked as leakproof, which takes a superuser.
CHUNK_TABLES = r"vectors\_%"
INDEX_FUNCTIONS = ("ts_match_vq(tsvector, tsquery)", "jsonb_contains(jsonb, jsonb)")
#: Tables to which rows are only added.
APPEND_ONLY = ("audit_events",)
#: Tables that only migrations write.
READ_ONLY = ("schema_migrations", "queue_migrations")

OWN_ROWS, OWN_WRITES, ALL_ROWS = "own_organisation", "own_organisation_writes", "all_organisations"


def incomplete(connection: Connection[Any]) -> bool:
    """Return True if a role is missing, or a table lacks a grant or its policies."""
    return not _roles(connection) or bool(_without_grants(connection) or unprotected(connection))


def complete(connection: Connection[Any]) -> None:
    """Create what is missing, in the caller's transaction.

    If this log-in may not create roles, only log a warning: the cluster works, and no policy applies. The
    doctor reports this.
    """
    try:
        with connection.transaction():
            _create_roles(connection)
            _mark_leakproof(connection)
            _grant(connection)
            for table in unprotected(connection):
                protect(connection, table)
    except InsufficientPrivilege as exc:
        log.warning("row_security_not_complete", reason=str(exc).strip())


def unprotected(connection: Connection[Any]) -> list[str]:
    """Return the tables with rows of organisations that have no row-level security, in order of their names.

    Chunk tables count only if the functions of their indexes are leakproof.
    """
    found = connection.execute(STATEMENTS["unprotected"], _values()).fetchall()
    return [table for (table,) in found]


def without_policies(connection: Connection[Any]) -> list[str]:
    """Return all tables with rows of organisations that have no row-level security, chunk tables included."""
    values = {**_values(), "count": 0, "functions": []}
    return [table for (table,) in connection.execute(STATEMENTS["unprotected"], values).fetchall()]


def exempt_chunk_tables(connection: Connection[Any]) -> bool:
    """Return True if chunk tables have no row-level security because only a superuser can prepare it."""
    row = connection.execute(STATEMENTS["leakproof"], _values()).fetchone()
    return row != (len(INDEX_FUNCTIONS),)


def protect(connection: Connection[Any], table: str) -> None:
    """Grant the roles access to the table, and add the policies of row-level security.

    Rows whose organisation is null belong to no organisation: every organisation can read them, and only the
    cluster can write them. The caller runs as the owner of the table.
    """
    roles = _roles(connection)
    if not roles:
        return
    all_organisations, application = map(Identifier, roles)
    values = {"table": table, **_values()}
    row = connection.execute(STATEMENTS["kind"], values).fetchone()
    assert row is not None
    nullable, chunks_exempt = row
    if chunks_exempt:
        _grant_table(connection, table, roles)
        return
    own = SQL("organisation = current_setting('cluster.organisation', true)")
    shown = SQL("organisation IS NULL OR {}").format(own) if nullable else own
    parts: dict[str, Composable] = {
        "table": Identifier(table),
        "application": application,
        "all_organisations": all_organisations,
        "own": own,
        "shown": shown,
    }
    _grant_table(connection, table, roles)
    for policy in (OWN_ROWS, OWN_WRITES, ALL_ROWS):
        connection.execute(SQL("DROP POLICY IF EXISTS {} ON {}").format(Identifier(policy), parts["table"]))
    if nullable:
        own_rows = (
            "CREATE POLICY own_organisation ON {table} FOR SELECT TO {application} USING ({shown});"
            "CREATE POLICY own_organisation_writes ON {table} TO {application} USING ({own});"
        )
    else:
        own_rows = "CREATE POLICY own_organisation ON {table} TO {application} USING ({own});"
    connection.execute(
        SQL(
            own_rows + "CREATE POLICY all_organisations ON {table} TO {all_organisations} USING (true);"
            "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
        ).format(**parts)
    )


def _roles(connection: Connection[Any]) -> list[str]:
    """Return the role for all organisations and the role for one; nothing if this log-in cannot take both."""
    found = [name for (name,) in connection.execute(STATEMENTS["roles"]).fetchall()]
    return found if len(found) == 2 else []


def _create_roles(connection: Connection[Any]) -> None:
    connection.execute(STATEMENTS["create_roles"])


def _mark_leakproof(connection: Connection[Any]) -> None:
    """Mark the functions of the chunk tables' indexes as leakproof. Skip this without a superuser."""
    if connection.execute(STATEMENTS["superuser"]).fetchone() != (True,):
        return
    if exempt_chunk_tables(connection):
        for function in INDEX_FUNCTIONS:
            connection.execute(f"ALTER FUNCTION pg_catalog.{function} LEAKPROOF")


def _grant(connection: Connection[Any]) -> None:
    roles = _roles(connection)
    for (table,) in connection.execute(STATEMENTS["tables"]).fetchall():
        _grant_table(connection, table, roles)
    named = SQL(", ").join(map(Identifier, roles))
    row = connection.execute("SELECT current_schema(), current_database()").fetchone()
    assert row is not None
    schema, database = map(Identifier, row)
    connection.execute(
        SQL(
            "GRANT USAGE ON SCHEMA {schema} TO {roles};"
            "GRANT TEMPORARY ON DATABASE {database} TO {roles};"
            "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {roles}"
        ).format(schema=schema, database=database, roles=named)
    )


def _grant_table(connection: Connection[Any], table: str, roles: list[str]) -> None:
    privileges = (
        "SELECT"
        if table in READ_ONLY
        else "SELECT, INSERT"
        if table in APPEND_ONLY
        else "SELECT, INSERT, UPDATE, DELETE"
    )
    connection.execute(
        SQL("GRANT " + privileges + " ON {} TO {}").format(
            Identifier(table), SQL(", ").join(map(Identifier, roles))
        )
    )


def _without_grants(connection: Connection[Any]) -> list[str]:
    return [table for (table,) in connection.execute(STATEMENTS["without_grants"]).fetchall()]


def _values() -> dict[str, Any]:
    return {
        "shared": list(SHARED_TABLES),
        "chunk_tables": CHUNK_TABLES,
        "functions": [f"pg_catalog.{function}" for function in INDEX_FUNCTIONS],
        "count": len(INDEX_FUNCTIONS),
    }
