"""What the bundled Postgres keeps on disk: its files, how they are made, and its configuration.

Called by ``server``, under its lock.
"""

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import structlog

from cluster.database.bundled.binaries import newest
from cluster.database.bundled.os_user import run_as, server_user
from cluster.database.bundled.postmaster import title
from cluster.errors import Misconfigured, Unavailable
from cluster.settings import MIB

log = structlog.get_logger(__name__)

#: Role and database; the role owns the server, which holds nothing but this cluster.
ROLE, DATABASE = "cluster", "postgres"
#: Docker gives a container 64 MiB of /dev/shm; building an HNSW index in parallel takes ``maintenance_work_mem``.
ENOUGH_SHARED_MEMORY_BYTES = 1024 * MIB

CONFIGURATION = """\
# Written by embedding-cluster at every start. ALTER SYSTEM is kept, and wins over this file.
listen_addresses = '127.0.0.1'
port = {port}
cluster_name = '{title}'
# every connection is TCP: a socket file would need a short path that both OS users can reach
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
max_connections = 200
shared_buffers = '256MB'
maintenance_work_mem = '512MB'
max_wal_size = '2GB'
dynamic_shared_memory_type = {shared_memory}
# the disk is an SSD, as every laptop's and cloud machine's is
random_page_cost = 1.1
# our statements are short; compiling them takes longer than running them
jit = off
# a writer that was stopped in mid-transaction must not hold its document's lock for ever
idle_in_transaction_session_timeout = '10min'
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%a '
log_checkpoints = off
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
        """The role's password; readable by the server's OS user (and root) only."""
        return self.root / "password"

    @property
    def port(self) -> Path:
        """The port asked for last, so that URLs stay good over a restart."""
        return self.root / "port"

    @property
    def log(self) -> Path:
        """What the server had to say."""
        return self.root / "server.log"


def initialise(files: Files) -> None:
    """Make the data directory, once: it gets its name only when it is complete.

    Raises:
        Misconfigured: the programs are missing, or there is nobody to run them as.
        Unavailable: ``initdb`` failed; the message says why.
    """
    user, programs = server_user(files.data), newest()
    files.root.mkdir(exist_ok=True)
    files.root.chmod(0o700)
    files.password.unlink(missing_ok=True)
    files.password.touch(mode=0o600)
    files.password.write_text(secrets.token_urlsafe(24))
    for path in (files.root, files.password):
        shutil.chown(path, user.uid, user.gid)
    draft = files.root / "data.draft"
    shutil.rmtree(draft, ignore_errors=True)
    # Postgres' own collation: the machine's differ from one to the next, and an index sorted by one is wrong under another.
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command = [
        str(programs / "initdb"),
        "-D",
        str(draft),
        "-U",
        ROLE,
        f"--pwfile={files.password}",
        "--auth=scram-sha-256",
        *locale,
    ]
    done = run_as(user, command, reach=[programs, draft])
    if done.returncode != 0:
        raise Unavailable(f"initdb failed in {files.root}: {done.stderr.strip()[-2000:]}")
    draft.rename(files.data)
    log.info("postgres_initialised", data=str(files.data))


def configure(files: Files, port: int) -> None:
    """Write the server's configuration, as this version of the code wants it."""
    shared = Path("/dev/shm")  # noqa: S108 - Linux' shared memory, not a place for our files
    roomy = shared.is_dir() and shutil.disk_usage(shared).total >= ENOUGH_SHARED_MEMORY_BYTES
    text = CONFIGURATION.format(
        port=port, title=title(files.data), shared_memory="posix" if roomy else "mmap"
    )
    (files.data / "postgresql.conf").write_text(text)


def url(files: Files, port: int) -> str:
    """Where to connect to, with the password in it.

    Raises:
        Misconfigured: the password is lost.
    """
    try:
        password = files.password.read_text()
    except FileNotFoundError as exc:
        raise Misconfigured(
            f"{files.password} is missing, and the database in {files.data} cannot be entered without it: restore it"
        ) from exc
    return f"postgresql://{ROLE}:{password}@127.0.0.1:{port}/{DATABASE}"
