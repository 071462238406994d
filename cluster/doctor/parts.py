"""The parts of a cluster, each tried as those who need it would. Starts nothing and changes nothing."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import Connection

from cluster.blobs import open_blob_store
from cluster.database import bundled, translated
from cluster.database.migrate import CONNECT_TIMEOUT_S, ENCODING, MIN_PGVECTOR, migrations
from cluster.database.queries import queries
from cluster.doctor.report import Part
from cluster.engines.weights import WEIGHTS_FILE, open_model_folder
from cluster.errors import ClusterError, Shortage
from cluster.jobs.kinds import not_retryable
from cluster.jobs.shortages import announced
from cluster.local import application, ray_head
from cluster.local.addresses import LOOPBACK, api_url, dashboard_url, get_json
from cluster.settings import Settings

SQL = queries("cluster.doctor", "doctor.sql")
#: Jobs of these classes that wait for longer mean too few workers; bulk may wait as long as it likes.
PATIENCE_S = {"high": 60.0, "medium": 900.0, "scheduled": 900.0}
#: What to do about a shortage, beside what its sentence says.
THEN = "make room; then everything goes on by itself, and no job has lost a try"


def database(settings: Settings) -> Part:
    """It answers, has this code's schema, and pgvector."""
    name = "database"
    try:
        with translated(), _connected(settings) as connection:
            applied = _applied(connection)
            vector = connection.execute(SQL["pgvector"]).fetchone()
            version = connection.info.server_version // 10_000
            encoding, ctype = connection.execute(SQL["locale"]).fetchone() or ("", "")
    except ClusterError as exc:
        return Part(name=name, fine=False, says=str(exc), remedy=_start_it(settings))
    if encoding != ENCODING:
        return Part(
            name=name,
            fine=False,
            says=f"its encoding is {encoding}, which does not hold every text",
            remedy=f"make it anew with ENCODING '{ENCODING}'",
        )
    missing = sorted({migration.name for migration in migrations()} - applied)
    if missing:
        return Part(
            name=name,
            fine=False,
            says=f"migrations are missing: {', '.join(missing)}",
            remedy="make up applies them",
        )
    if vector is None or tuple(map(int, vector[0].split(".")[:2])) < MIN_PGVECTOR:
        wanted = ".".join(map(str, MIN_PGVECTOR))
        return Part(
            name=name,
            fine=False,
            says="pgvector is missing or too old",
            remedy=f"install pgvector {wanted} or newer in this database",
        )
    locale = f"{encoding}, LC_CTYPE {ctype} (word search is the same under every LC_CTYPE)"
    return Part(
        name=name,
        fine=True,
        says=f"PostgreSQL {version} with pgvector {vector[0]}, {len(applied)} migrations; {locale}",
    )


def blobs(settings: Settings) -> Part:
    """A probe is written, read and deleted."""
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
        return Part(
            name=name, fine=False, says=str(exc), remedy=f"make room, or see to {where} (CLUSTER_BLOB_URL)"
        )
    if not (same and deleted):
        return Part(
            name=name,
            fine=False,
            says=f"{where} does not give back what it was given",
            remedy="replace the storage; CLUSTER_BLOB_URL names it",
        )
    return Part(name=name, fine=True, says=f"{where} keeps, gives back and deletes")


def room(connection: Connection[Any]) -> Part:
    """Check that Postgres has room: write some rows and undo them. Then look whether any process waits for a resource that is used up."""
    name = "room"
    try:
        with translated(), connection.transaction(force_rollback=True):
            connection.execute(SQL["fill"])
        short = sorted(announced(connection))
    except Shortage as exc:
        return Part(name=name, fine=False, says=str(exc), remedy=THEN)
    except ClusterError as exc:
        return Part(
            name=name,
            fine=False,
            says=f"whether there is room cannot be tried: {exc}",
            remedy="see to the database's log",
        )
    if short:
        return Part(
            name=name, fine=False, says="; ".join(resource.sentence for resource in short), remedy=THEN
        )
    return Part(
        name=name, fine=True, says="the database takes what is written, and no process waits for a resource"
    )


def ray(settings: Settings) -> Part:
    """The head of this home, if it has one, and the endpoint."""
    name = "ray"
    head, known = ray_head.running(settings), ray_head.recorded(settings)
    if known is not None and head is None:
        return Part(
            name=name,
            fine=False,
            says=f"the head (pid {known.pid}) is gone",
            remedy="make up starts it again; no job is lost",
        )
    if head is not None and get_json(LOOPBACK, head.ports["dashboard"], "/api/version") is None:
        return Part(
            name=name,
            fine=False,
            says=f"the head (pid {head.pid}) does not answer",
            remedy="make down, then make up",
        )
    if not application.ready(settings):
        where = (
            f"make status; the replica's error is at {dashboard_url(settings)} under Serve"
            if head
            else "make up"
        )
        return Part(
            name=name,
            fine=False,
            says=f"the endpoint does not answer at {api_url(settings)}/readyz",
            remedy=where,
        )
    return Part(
        name=name,
        fine=True,
        says=f"the endpoint answers at {api_url(settings)}"
        + ("" if head else "; its Ray was started elsewhere"),
    )


def engine(settings: Settings) -> Part:
    """The folders of the models, and that the weights are those expected."""
    name = "engine"
    try:
        main = open_model_folder(settings)
        for model, path in settings.models.items():
            open_model_folder(
                settings.model_copy(update={"model": model, "model_path": path, "model_sha256": None})
            )
    except ClusterError as exc:
        return Part(
            name=name,
            fine=False,
            says=str(exc),
            remedy="install the model again, or correct CLUSTER_MODEL_PATH or CLUSTER_MODELS",
        )
    if settings.reranker_path is not None and not Path(settings.reranker_path).is_dir():
        return Part(
            name=name,
            fine=False,
            says=f"{settings.reranker_path} is no folder",
            remedy="correct CLUSTER_RERANKER_PATH",
        )
    return Part(
        name=name,
        fine=True,
        says=f"{settings.model}: {main.path / WEIGHTS_FILE} has the SHA-256 {main.sha256[:12]}…",
    )


def queues(settings: Settings, connection: Connection[Any]) -> Part:
    """Workers that live, and what waits for them."""
    name = "queues"
    row = connection.execute(SQL["workers"], {"lease_s": settings.lease_s}).fetchone()
    workers = row[0] if row else 0
    waiting = connection.execute(SQL["waiting"]).fetchall()
    dead = connection.execute(SQL["dead_letters"], {"not_retryable": not_retryable()}).fetchone()
    lines = [
        f"{priority_class}: {jobs} wait, the oldest for {oldest_s:.0f} s"
        for priority_class, jobs, oldest_s in waiting
    ]
    letters = f"{dead[0]} dead letters" if dead and dead[0] else "no dead letters"
    alive = f"workers are alive ({workers} groups of slots)" if workers else "no worker is alive"
    says = "; ".join([alive, *(lines or ["nothing waits"]), letters])
    if workers == 0 and (waiting or settings.min_workers > 0):
        return Part(
            name=name,
            fine=False,
            says=says,
            remedy="make up starts workers; on another cluster see serve status",
        )
    late = [
        priority_class
        for priority_class, _, oldest_s in waiting
        if oldest_s > PATIENCE_S.get(priority_class, float("inf"))
    ]
    if late:
        return Part(
            name=name,
            fine=False,
            says=says,
            remedy=f"{' and '.join(late)} wait too long: raise CLUSTER_MAX_WORKERS",
        )
    return Part(name=name, fine=True, says=says)


def _applied(connection: Connection[Any]) -> set[str]:
    """Names of the migrations this database has."""
    if connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone() != (True,):
        return set()
    return {name for (name,) in connection.execute(SQL["applied"])}


def _connected(settings: Settings) -> Connection[Any]:
    """Unlike the pool: a bundled server that does not run is not started."""
    url = settings.database_url.get_secret_value() if settings.database_url else bundled.url(settings)
    return psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S)


def _start_it(settings: Settings) -> str:
    if settings.database_url is None:
        return f"make up starts it; if it does not, {settings.home / 'postgres' / 'server.log'} says why"
    return "see to the server that CLUSTER_DATABASE_URL names"
