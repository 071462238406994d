"""Gathers and shows the status of a cluster for ``make status``.

The status covers the parts of the cluster, and the place and size of the data. Nothing is started.

    gather(settings).running
"""

from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cluster.database import bundled
from cluster.database.queries import queries
from cluster.documents.file_names import shown_name
from cluster.local import application, ray_head
from cluster.local.addresses import api_url, dashboard_url
from cluster.records import SEARCHABLE
from cluster.settings import Settings

SQL = queries("cluster.local", "status.sql")
CONNECT_TIMEOUT_S = 5
BYTES_PER_MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class PartStatus:
    """Describes the state of one part of the cluster: the database, Ray or the endpoint."""

    name: str
    running: bool
    #: URL or address of the part, or a short text for people if the address is not known.
    address: str
    #: Id of the part's first process; None if the part does not run or the id is unknown.
    pid: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreCounts:
    """Counts the contents of a vector store."""

    organisation: str
    name: str
    id: str
    #: Number of searchable documents.
    documents: int
    #: Number of documents that are not searchable after their last attempt.
    not_indexed: int
    chunks: int
    tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterStatus:
    """Holds everything that ``make status`` shows."""

    home: str
    parts: tuple[PartStatus, ...]
    #: Size of the database in bytes; None if the database does not answer.
    database_bytes: int | None
    stores: tuple[StoreCounts, ...]

    @property
    def running(self) -> bool:
        """True if every part runs."""
        return all(part.running for part in self.parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as values that JSON can represent."""
        return {"running": self.running, **asdict(self)}


def gather(settings: Settings) -> ClusterStatus:
    """Check every part, and count the contents of the database if Postgres runs."""
    database = _database(settings)
    head = ray_head.running(settings)
    ray = PartStatus(
        name="Ray", running=head is not None, address=dashboard_url(settings), pid=head.pid if head else None
    )
    api = PartStatus(name="API", running=application.ready(settings), address=api_url(settings), pid=None)
    size, stores = _contents(settings) if database.running else (None, ())
    return ClusterStatus(
        home=str(settings.home), parts=(database, ray, api), database_bytes=size, stores=stores
    )


def show(found: ClusterStatus, console: Console) -> None:
    """Print the status as tables."""
    parts = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("", "state", "address", "pid"):
        parts.add_column(heading)
    for part in found.parts:
        state = "[green]running[/]" if part.running else "[red]not running[/]"
        parts.add_row(part.name, state, part.address, str(part.pid or ""))
    console.print(parts)
    size = (
        ""
        if found.database_bytes is None
        else f" ({found.database_bytes / BYTES_PER_MIB:,.0f} MiB in the database)"
    )
    console.print(f"\nData: {escape(shown_name(str(found.home)))}{size}", soft_wrap=True)
    if found.stores:
        console.print(_stores_table(found.stores))


def _stores_table(stores: tuple[StoreCounts, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("vector store", "id", "organisation"):
        table.add_column(heading)
    for heading in ("documents", "not indexed", "chunks", "tokens"):
        table.add_column(heading, justify="right")
    for store in stores:
        counts = (store.documents, store.not_indexed, store.chunks, store.tokens)
        table.add_row(
            escape(shown_name(store.name)), store.id, store.organisation, *(f"{count:,}" for count in counts)
        )
    return table


def _database(settings: Settings) -> PartStatus:
    if settings.database_url is None:
        found = bundled.status(settings)
        address = f"127.0.0.1:{found.port}" if found.port else "not created yet"
        return PartStatus(name="Postgres", running=found.running, address=address, pid=found.pid)
    url = settings.database_url.get_secret_value()
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            return PartStatus(
                name="Postgres",
                running=True,
                address=f"{connection.info.host}:{connection.info.port}",
                pid=None,
            )
    except psycopg.OperationalError:
        return PartStatus(name="Postgres", running=False, address="CLUSTER_DATABASE_URL", pid=None)


def _contents(settings: Settings) -> tuple[int | None, tuple[StoreCounts, ...]]:
    url = settings.database_url.get_secret_value() if settings.database_url else bundled.start(settings)
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            size = connection.execute(SQL["database_bytes"]).fetchone()
            rows = connection.execute(SQL["stores"], {"searchable": [*SEARCHABLE]}).fetchall()
    except (
        psycopg.OperationalError,
        psycopg.errors.UndefinedTable,
    ):  # the server is stopping, or has no schema yet
        return None, ()
    names = ("organisation", "name", "id", "documents", "not_indexed", "chunks", "tokens")
    return (size[0] if size else None), tuple(
        StoreCounts(**dict(zip(names, row, strict=True))) for row in rows
    )
