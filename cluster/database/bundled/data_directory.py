"""Creates the files of the bundled Postgres server on disk, and writes the server's configuration.

The module ``server`` holds its lock while it calls ``initialise`` and ``configure``.
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

#: Names of the role and the database. The role is a superuser, because only this cluster uses the server.
ROLE, DATABASE = "cluster", "postgres"
#: Minimum size of /dev/shm for Postgres to use this folder. A parallel build of an HNSW index needs
#: ``maintenance_work_mem`` in /dev/shm, and Docker gives a container only 64 MiB.
ENOUGH_SHARED_MEMORY_BYTES = 1024 * MIB

CONFIGURATION = """\
# embedding-cluster writes this file at every start. Values of ALTER SYSTEM are kept and go before this file.
listen_addresses = '127.0.0.1'
port = {port}
cluster_name = '{title}'
# connections use TCP: a socket file would need a short path that both OS users can reach
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
max_connections = 200
shared_buffers = '256MB'
maintenance_work_mem = '512MB'
max_wal_size = '2GB'
dynamic_shared_memory_type = {shared_memory}
# for SSDs, the disks of laptops and cloud machines
random_page_cost = 1.1
# statements are short, and compiling them takes longer than running them
jit = off
# a writer that is stopped within a transaction must release the lock of its document
idle_in_transaction_session_timeout = '10min'
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%a '
log_checkpoints = off
"""


@dataclass(frozen=True, slots=True)
class Files:
    """Gives the paths of the bundled server's files."""

    root: Path

    @property
    def data(self) -> Path:
        """The data directory of Postgres."""
        return self.root / "data"

    @property
    def password(self) -> Path:
        """File with the role's password. Only the server's OS user and root can read it."""
        return self.root / "password"

    @property
    def port(self) -> Path:
        """File with the last configured port. A restart uses this port again, so URLs stay valid."""
        return self.root / "port"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.root / "server.log"


def initialise(files: Files) -> None:
    """Create the data directory. It gets its final name only after it is complete.

    Raises:
        Misconfigured: the programs are missing, or no OS user can run them.
        Unavailable: ``initdb`` failed; the message ends with the error output of ``initdb``.
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
    # Use the built-in collation of Postgres. The collations of operating systems differ, and an index that
    # was sorted by one collation is wrong under another.
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
    """Replace ``postgresql.conf``, which initdb or an earlier start wrote."""
    shared = Path("/dev/shm")  # noqa: S108  # shared memory of Linux, not a folder for files
    roomy = shared.is_dir() and shutil.disk_usage(shared).total >= ENOUGH_SHARED_MEMORY_BYTES
    text = CONFIGURATION.format(
        port=port, title=title(files.data), shared_memory="posix" if roomy else "mmap"
    )
    (files.data / "postgresql.conf").write_text(text)


def url(files: Files, port: int) -> str:
    """Return the URL of the server, with its password.

    Raises:
        Misconfigured: the file with the password is missing.
    """
    try:
        password = files.password.read_text()
    except FileNotFoundError as exc:
        raise Misconfigured(
            f"{files.password} is missing: restore it, or nothing can log in to the database in {files.data}"
        ) from exc
    return f"postgresql://{ROLE}:{password}@127.0.0.1:{port}/{DATABASE}"
