"""A database connection that tells Postgres the row access of the current context.

The connections of every pool are of this class. A transaction sets the role and the organisation in the same
message as its BEGIN, so the access costs no round trip. In autocommit mode, a statement first sets both for
the session if they differ from the last statement's. ``row_access`` explains the access itself.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import psycopg
from psycopg import errors, generators, pq, sql
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

from cluster.database.queries import queries
from cluster.database.row_access import NOTHING, Reach, RowAccess, current_access

ROLES = queries("cluster.database", "row_security.sql")["roles"]
#: The setting with which policies compare the column "organisation".
SETTING = "cluster.organisation"
#: Lets the server notice within half a minute that the machine of a client has lost its power. The server
#: then rolls the client's transaction back, and releases its locks. The kernel's default is two hours.
LOST_CLIENTS = """
SELECT set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),
    set_config('tcp_keepalives_count', '4', false), set_config('tcp_user_timeout', '30s', false)
"""


@contextmanager
def owner_within(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Let the block act as the owner of the tables, inside the open transaction of the connection.

    Row-level security does not apply to the owner. Use the block for statements that only the owner can
    execute: to create a table, and to COPY into a table that has row-level security.
    """
    if not isinstance(connection, ScopedConnection) or connection.roles is None:
        yield
        return
    row = connection.execute("SELECT current_setting('role'), set_config('role', 'none', true)").fetchone()
    assert row is not None
    yield
    # If the block fails, the rollback restores the role.
    connection.execute("SELECT set_config('role', %s, true)", [row[0]])


async def take_role_of_all(connection: psycopg.AsyncConnection[Any]) -> None:
    """Let a new connection of the job queue act for all organisations. It is the ``configure`` of a pool."""
    await connection.execute(LOST_CLIENTS)
    found = [name for (name,) in await (await connection.execute(ROLES)).fetchall()]
    if len(found) == 2:
        await connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(found[0])))
    await connection.commit()


class _Begin(bytes):
    """A BEGIN, and the statements that set the access of its transaction."""

    settings: tuple[bytes, ...] = ()


class ScopedConnection(psycopg.Connection[Any]):
    """Sets the row access of the current context at the beginning of each transaction."""

    #: Access in a context in which no code has set any.
    default_access: ClassVar[RowAccess] = NOTHING
    #: The roles for one organisation and for all organisations; None if the database has no such roles. Then
    #: row-level security has no effect on this connection.
    roles: tuple[str, str] | None = None
    #: True while the pool checks the connection. The check reads no row and needs no access.
    checking = False
    #: Time (``time.monotonic``) at which the last statement began.
    used_at = 0.0
    _session: RowAccess | None = None

    def prepare(self) -> None:
        """Prepare a new connection: let the server notice a lost client, find the roles of the database, and
        take the role that sees no row of any organisation.
        """
        self.execute(LOST_CLIENTS)
        found = [name for (name,) in self.execute(ROLES).fetchall()]
        if len(found) == 2:
            all_organisations, application = found
            self.roles = application, all_organisations

    @property
    def access(self) -> RowAccess:
        """The access of the current context."""
        return current_access() or self.default_access

    def _get_tx_start_command(self) -> bytes:
        begin = super()._get_tx_start_command()
        if self.roles is None:
            return begin
        whole = _Begin(begin)
        whole.settings = self._settings(self.access, b"SET LOCAL")
        return whole

    def _exec_command(self, command: Any, result_format: pq.Format = pq.Format.TEXT) -> PQGen[Any]:
        if not isinstance(command, _Begin):
            return (yield from super()._exec_command(command, result_format))
        if self._pipeline:  # one message holds one statement here, and the messages travel together
            yield from super()._exec_command(bytes(command))
            for setting in command.settings:
                yield from super()._exec_command(setting)
            return None
        self._check_connection_ok()
        self.pgconn.send_query(b"; ".join((command, *command.settings)))
        results = yield from generators.execute(self.pgconn)
        for result in results:
            if result.status != pq.ExecStatus.COMMAND_OK:
                raise errors.error_from_result(result, encoding=self.pgconn._encoding)
        return results[-1]

    def _start_query(self) -> PQGen[None]:
        self.used_at = time.monotonic()
        if (
            self._autocommit
            and self.roles is not None
            and not self.checking
            and self._session != self.access
            and self.pgconn.transaction_status == TransactionStatus.IDLE
        ):
            access = self.access
            for setting in self._settings(access, b"SET SESSION"):
                yield from super()._exec_command(setting)
            self._session = access
        yield from super()._start_query()

    def _settings(self, access: RowAccess, command: bytes) -> tuple[bytes, ...]:
        """Return the statements that set the role and the organisation."""
        assert self.roles is not None
        role = {Reach.OWNER: None, Reach.ALL: self.roles[1]}.get(access.reach, self.roles[0])
        organisation = self._quoted(access.organisation, psycopg.pq.Escaping.escape_literal)
        named = b"NONE" if role is None else self._quoted(role, psycopg.pq.Escaping.escape_identifier)
        return (
            b"%s ROLE %s" % (command, named),
            b"%s %s = %s" % (command, SETTING.encode(), organisation),
        )

    def _quoted(self, text: str, escape: Any) -> bytes:
        quoted: bytes = escape(psycopg.pq.Escaping(self.pgconn), text.encode(self.pgconn._encoding))
        return quoted
