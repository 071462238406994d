"""Checks the parts of a cluster.

Each check uses a part in the same way as the rest of the code, starts nothing, and leaves nothing changed.
"""

import asyncio
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shutil import which
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import Connection

from cluster.blobs import open_blob_store
from cluster.chat import ChatModels
from cluster.crawls.browser_program import browser_sentence
from cluster.database import bundled, translated
from cluster.database.migrate import CONNECT_TIMEOUT_S, ENCODING, MIN_PGVECTOR, migrations
from cluster.database.queries import queries
from cluster.database.shortages import announced
from cluster.doctor.report import PartCheck
from cluster.engines import Registry, describe
from cluster.errors import ClusterError, Shortage
from cluster.formats import readable
from cluster.jobs.kinds import not_retryable
from cluster.jobs.queue_tables import live_workers
from cluster.local import application, ray_head
from cluster.local.addresses import LOOPBACK, api_url, dashboard_url, get_json
from cluster.settings import Settings

SQL = queries("cluster.doctor", "doctor.sql")
#: Maximum acceptable wait of a job, by priority class. Jobs of class low may wait without a limit.
LONGEST_WAIT_S = {"high": 60.0, "medium": 900.0, "scheduled": 900.0}
#: Remedy for a shortage. Reports print it after the sentence of ``Resource``, which says where to make room.
AFTER_SHORTAGE = "make room; jobs then continue by themselves, and none has lost an attempt"


def database(settings: Settings) -> PartCheck:
    """Check that the database answers and has the right encoding, this code's migrations, and pgvector."""
    name = "database"
    try:
        with translated(), _connected(settings) as connection:
            applied = _applied(connection)
            vector = connection.execute(SQL["pgvector"]).fetchone()
            version = connection.info.server_version // 10_000
            encoding, ctype = connection.execute(SQL["locale"]).fetchone() or ("", "")
    except ClusterError as exc:
        return _wrong(name, str(exc), remedy=_start_it(settings))
    if encoding != ENCODING:
        return _wrong(
            name,
            f"the encoding of the database is {encoding}, which does not hold every text",
            remedy=f"create a database with ENCODING '{ENCODING}', and name it in CLUSTER_DATABASE_URL",
        )
    missing = sorted({migration.name for migration in migrations()} - applied)
    if missing:
        return _wrong(
            name, f"migrations are missing: {', '.join(missing)}", remedy="run make up, which applies them"
        )
    if vector is None or tuple(map(int, vector[0].split(".")[:2])) < MIN_PGVECTOR:
        wanted = ".".join(map(str, MIN_PGVECTOR))
        return _wrong(
            name,
            "pgvector is missing or too old",
            remedy=f"install pgvector {wanted} or newer in this database",
        )
    locale = f"{encoding}, LC_CTYPE {ctype} (word search is the same under every LC_CTYPE)"
    return _fine(name, f"PostgreSQL {version} with pgvector {vector[0]}, {len(applied)} migrations; {locale}")


def blobs(settings: Settings) -> PartCheck:
    """Check the blob store: write a probe, read it back and delete it."""
    name, probe = "blobs", f"doctor {uuid4().hex}".encode()
    where = settings.blob_url or str(settings.home / "blobs")
    try:
        store = open_blob_store(settings)
        with store.writer(settings.organisation) as writer:
            writer.write(probe)
            blob = writer.commit()
        same = store.read(settings.organisation, blob.sha256) == probe
        deleted = store.delete(settings.organisation, blob.sha256)
    except ClusterError as exc:
        return _wrong(
            name, str(exc), remedy=f"make room, or repair the storage at {where} (CLUSTER_BLOB_URL)"
        )
    if not (same and deleted):
        return _wrong(
            name,
            f"{where} does not return the bytes that were written",
            remedy="replace the storage, which CLUSTER_BLOB_URL names",
        )
    return _fine(name, f"writes, reads and deletions work in {where}")


def room(connection: Connection[Any]) -> PartCheck:
    """Check that Postgres has room for writes, and that no process waits for a resource.

    The check writes some rows, and rolls these writes back.
    """
    name = "room"
    try:
        with translated(), connection.transaction(force_rollback=True):
            connection.execute(SQL["fill"])
        short = sorted(announced(connection))
    except Shortage as exc:
        return _wrong(name, str(exc), remedy=AFTER_SHORTAGE)
    except ClusterError as exc:
        return _wrong(name, f"a test write failed: {exc}", remedy="read the database's log")
    if short:
        return _wrong(name, "; ".join(resource.sentence for resource in short), remedy=AFTER_SHORTAGE)
    return _fine(name, "the database takes writes, and no process waits for a resource")


def ray(settings: Settings) -> PartCheck:
    """Check the Ray head of this home, if it has one, and the endpoint."""
    name = "ray"
    head, known = ray_head.running(settings), ray_head.recorded(settings)
    if known is not None and head is None:
        return _wrong(
            name,
            f"the Ray head (pid {known.pid}) has ended",
            remedy="run make up, which starts it again; no job is lost",
        )
    if head is not None and get_json(LOOPBACK, head.ports["dashboard"], "/api/version") is None:
        return _wrong(
            name, f"the Ray head (pid {head.pid}) does not answer", remedy="run make down, then make up"
        )
    if not application.ready(settings):
        where = (
            f"run make status, and look for the replica's error at {dashboard_url(settings)} under Serve"
            if head
            else "run make up"
        )
        return _wrong(name, f"the endpoint does not answer at {api_url(settings)}/readyz", remedy=where)
    return _fine(
        name,
        f"the endpoint answers at {api_url(settings)}"
        + ("" if head else "; its Ray was not started by this home"),
    )


def engine(settings: Settings) -> PartCheck:
    """Check every configured model without opening an engine, and check that the reranker's folder exists.

    For a local model, check that its folder exists and has the expected weights.
    """
    name = "engine"
    try:
        models = {entry.name: describe(entry) for entry in Registry(settings).entries.values()}
    except ClusterError as exc:
        return _wrong(
            name, str(exc), remedy="install the model again, or correct CLUSTER_MODEL_PATH or CLUSTER_MODELS"
        )
    if settings.reranker_path is not None and not Path(settings.reranker_path).is_dir():
        return _wrong(
            name,
            f"{settings.reranker_path}, the folder of the reranker, does not exist",
            remedy="correct CLUSTER_RERANKER_PATH",
        )
    return _fine(name, "; ".join(f"{model} has the revision {one.revision}" for model, one in models.items()))


def parsers(settings: Settings) -> PartCheck:
    """Check that the libraries of the parsers are installed on this node. Also say whether Tesseract is
    installed, and whether web pages are rendered; neither is needed.
    """
    name = "parsers"
    rows = readable(settings.pdf_parser)
    missing = {library: row.name for row in rows for library in row.libraries if not _is_installed(library)}
    if missing:
        named = ", ".join(f"{library}, which reads {row}" for library, row in missing.items())
        return _wrong(
            name,
            f"packages are not installed: {named}",
            remedy=f"run pip install {' '.join(missing)}; CLUSTER_PDF_PARSER chooses another library for PDF",
        )
    scans = (
        "Tesseract recognises scans" if which("tesseract") else "scans are not recognised without Tesseract"
    )
    if settings.ocr == "off":
        scans = "scans are not recognised (CLUSTER_OCR)"
    pages = browser_sentence(settings)
    return _fine(name, f"{len(rows)} formats can be read, PDF by {settings.pdf_parser}; {scans}; {pages}")


def _is_installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def chat(settings: Settings) -> PartCheck:
    """Check that every chat model has its key and its tokeniser, and that its server answers."""
    name = "chat"
    try:
        failures = asyncio.run(_chat_failures(settings))
    except ClusterError as exc:
        return _wrong(name, str(exc), remedy="correct CLUSTER_CHAT_MODELS")
    if failures:
        return _wrong(
            name,
            "; ".join(f"{model}: {error}" for model, error in failures.items()),
            remedy="start the chat servers, or correct CLUSTER_CHAT_MODELS",
        )
    return _fine(name, f"the servers of {', '.join(settings.chat_models)} answer")


async def _chat_failures(settings: Settings) -> dict[str, ClusterError]:
    models = ChatModels(settings)
    try:
        return await models.check()
    finally:
        await models.close()


def queues(settings: Settings, connection: Connection[Any]) -> PartCheck:
    """Check that workers are alive, and that no job waits too long."""
    name = "queues"
    workers = live_workers(connection, lease_s=settings.lease_s)
    waiting = connection.execute(SQL["waiting"]).fetchall()
    dead = connection.execute(SQL["dead_letters"], {"not_retryable": not_retryable()}).fetchone()
    lines = [
        f"{priority_class}: {jobs} waiting, the oldest for {oldest_s:.0f} s"
        for priority_class, jobs, oldest_s in waiting
    ]
    letters = f"{dead[0]} dead letters" if dead and dead[0] else "no dead letters"
    alive = f"workers are alive ({workers} groups of slots)" if workers else "no worker is alive"
    says = "; ".join([alive, *(lines or ["no waiting jobs"]), letters])
    if workers == 0 and (waiting or settings.min_workers > 0):
        return _wrong(
            name, says, remedy="run make up, which starts workers; on another cluster look at serve status"
        )
    late = [
        priority_class
        for priority_class, _, oldest_s in waiting
        if oldest_s > LONGEST_WAIT_S.get(priority_class, float("inf"))
    ]
    if late:
        return _wrong(
            name,
            says,
            remedy=f"raise CLUSTER_MAX_WORKERS, because jobs of class {' and '.join(late)} wait too long",
        )
    return _fine(name, says)


def _fine(name: str, says: str) -> PartCheck:
    return PartCheck(name=name, fine=True, says=says)


def _wrong(name: str, says: str, *, remedy: str) -> PartCheck:
    return PartCheck(name=name, fine=False, says=says, remedy=remedy)


def _applied(connection: Connection[Any]) -> set[str]:
    """Return the names of the migrations that the database has."""
    if connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone() != (True,):
        return set()
    return {name for (name,) in connection.execute(SQL["applied"])}


def _connected(settings: Settings) -> Connection[Any]:
    """Connect to the database without starting a bundled server that does not run."""
    url = settings.database_url.get_secret_value() if settings.database_url else bundled.url(settings)
    return psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S)


def _start_it(settings: Settings) -> str:
    if settings.database_url is None:
        return f"run make up, which starts it; if it fails, read {settings.home / 'postgres' / 'server.log'}"
    return "start or repair the server that CLUSTER_DATABASE_URL names"
