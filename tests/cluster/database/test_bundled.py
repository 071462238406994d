"""The bundled Postgres starts once, keeps its data, needs its password, and recovers from every kill."""

import ctypes
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest

from cluster.database import bundled
from cluster.database.bundled import data_directory, postmaster
from cluster.errors import Misconfigured, Unavailable
from cluster.settings import Settings
from tests.conftest import NewHome, open_to_other_users

IMPORTS = (
    "import os, psutil, psycopg; from cluster.database import bundled; from cluster.settings import Settings"
)
#: Starts the server twice, kills it with SIGKILL, starts it again and stops it.
LIFE = """
s = Settings(home={home!r})
bundled.start(s)
first = bundled.status(s).pid
bundled.start(s)
assert bundled.status(s).pid == first
os.kill(first, 9)
bundled.start(s)
print(psutil.Process(bundled.status(s).pid).uids().effective, bundled.stop(s))
"""
#: The capabilities of root in a Docker container. The right to inspect processes of other users is not among
#: them.
DOCKER = (
    "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,net_raw,sys_chroot,mknod,"
    "audit_write,setfcap"
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another OS user")


@pytest.fixture
def home(new_home: NewHome) -> Iterator[Settings]:
    """A cluster whose Postgres has run before."""
    settings = new_home("bundled", with_database=True)
    yield settings
    bundled.stop(settings)


@pytest.fixture
def new(new_home: NewHome) -> Iterator[Settings]:
    """A cluster that has no files yet."""
    settings = new_home("bundled")
    yield settings
    bundled.stop(settings)


def killed(settings: Settings) -> int:
    """Kill the postmaster with SIGKILL, and return its process id."""
    pid = bundled.status(settings).pid
    assert pid is not None
    os.kill(pid, 9)
    return pid


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_starting_twice_starts_one_server(new: Settings) -> None:
    first = bundled.start(new)
    pid = bundled.status(new).pid
    assert bundled.start(new) == first
    assert bundled.status(new).pid == pid


def test_data_and_url_survive_a_stop(home: Settings) -> None:
    url = bundled.start(home)
    execute(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert bundled.stop(home) is True
    assert bundled.status(home).running is False
    assert bundled.stop(home) is False
    assert bundled.start(home) == url
    assert execute(url, "SELECT answer FROM kept") == [(42,)]


def test_it_outlives_the_process_that_started_it(new: Settings) -> None:
    code = f"{IMPORTS}; bundled.start(Settings(home={str(new.home)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, start_new_session=True)
    assert bundled.status(new).running
    assert execute(bundled.url(new), "SELECT 1") == [(1,)]


def test_it_needs_the_password_and_hides_it_from_other_users(new: Settings) -> None:
    url = bundled.start(new)
    password = data_directory.Files(new.home / "postgres").password
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(url.replace(password.read_text(), "guessed"))
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert stat.S_IMODE(password.parent.stat().st_mode) == 0o700


def test_it_listens_on_the_loopback_only(home: Settings) -> None:
    bundled.start(home)
    status = bundled.status(home)
    assert status.pid is not None
    assert {
        c.laddr for c in psutil.Process(status.pid).net_connections() if c.status == psutil.CONN_LISTEN
    } == {("127.0.0.1", status.port)}


def test_kill_9_of_the_postmaster_again_and_again_loses_nothing_committed(home: Settings) -> None:
    url = bundled.start(home)
    execute(url, "CREATE TABLE kept (i int)")
    for i in range(5):
        execute(url, f"INSERT INTO kept VALUES ({i})")
        before = killed(home)
        url = bundled.start(home)
        assert bundled.status(home).pid != before
        assert execute(url, "SELECT count(*) FROM kept") == [(i + 1,)]


def test_a_backend_that_outlives_its_postmaster_is_ended_before_the_next_server(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postmaster, "ORPHAN_GRACE_S", 0.5)
    url = bundled.start(home)
    connection = psycopg.connect(url, autocommit=True)
    orphan = psutil.Process(connection.info.backend_pid)
    busy = "DO $$ DECLARE x float := 0; BEGIN LOOP x := x + 1; END LOOP; END $$"
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(connection.execute, busy)
        while orphan.cpu_times().user < 0.1:
            pass
        killed(home)
        assert postmaster.alive(orphan)
        assert execute(bundled.start(home), "SELECT 1") == [(1,)]
        assert not postmaster.alive(orphan)
        with pytest.raises(psycopg.OperationalError):
            running.result()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt its grandchildren")
def test_a_zombie_postmaster_does_not_prevent_a_start(home: Settings) -> None:
    adopt_orphans(True)  # as PID 1 of a container does; many of them do not reap zombies
    try:
        bundled.start(home)
    finally:
        adopt_orphans(False)
    zombie = killed(home)
    while psutil.Process(zombie).status() != psutil.STATUS_ZOMBIE:
        pass
    assert bundled.status(home).running is False
    assert execute(bundled.start(home), "SELECT 1") == [(1,)]
    assert os.waitpid(zombie, 0) == (zombie, 9)


def adopt_orphans(yes: bool) -> None:
    pr_set_child_subreaper = 36
    assert ctypes.CDLL(None).prctl(pr_set_child_subreaper, int(yes), 0, 0, 0) == 0


def test_a_pid_file_with_the_id_of_another_process_prevents_no_start_and_kills_nothing(
    home: Settings,
) -> None:
    bundled.start(home)
    owner = (home.home / "postgres" / "data").stat()
    killed(home)
    # The stranger runs as the server's user: Postgres itself rules out processes of other users.
    identity = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    with subprocess.Popen(["/bin/sleep", "60"], **identity) as stranger:
        pid_file = home.home / "postgres" / "data" / "postmaster.pid"
        pid_file.write_text("\n".join([str(stranger.pid), *pid_file.read_text().split("\n")[1:]]))
        assert bundled.status(home).running is False
        assert execute(bundled.start(home), "SELECT 1") == [(1,)]
        bundled.stop(home)
        assert stranger.poll() is None
        stranger.kill()


def test_a_truncated_pid_file_does_not_prevent_a_start(home: Settings) -> None:
    bundled.start(home)
    bundled.stop(home)
    (home.home / "postgres" / "data" / "postmaster.pid").write_text("")
    assert execute(bundled.start(home), "SELECT 1") == [(1,)]


def test_a_port_that_another_process_took_is_left_to_it(home: Settings) -> None:
    bundled.start(home)
    port = bundled.status(home).port
    bundled.stop(home)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        assert execute(bundled.start(home), "SELECT 1") == [(1,)]
        assert bundled.status(home).port != port


def test_processes_that_start_it_at_the_same_time_share_one_server(new: Settings) -> None:
    code = f"{IMPORTS}; print(bundled.start(Settings(home={str(new.home)!r})))"
    starters = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    urls = {starter.communicate()[0].splitlines()[-1] for starter in starters}
    assert [starter.returncode for starter in starters] == [0] * 4
    assert urls == {bundled.url(new)}
    postmasters = [p for p in psutil.process_iter() if postmaster.find(new.home / "postgres" / "data") == p]
    assert len(postmasters) == 1


def test_two_homes_are_two_servers(home: Settings, new_home: NewHome) -> None:
    other = new_home("bundled")
    execute(bundled.start(home), "CREATE TABLE mine ()")
    bundled.start(other)
    killed(other)
    bundled.start(other)
    assert execute(bundled.url(other), "SELECT to_regclass('mine')") == [(None,)]
    bundled.stop(other)
    assert execute(bundled.url(home), "SELECT to_regclass('mine')") == [("mine",)]


def test_an_interrupted_first_start_is_repeated(new: Settings) -> None:
    draft = new.home / "postgres" / "data.draft"
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18\n")
    assert execute(bundled.start(new), "SELECT 1") == [(1,)]


def test_a_server_that_cannot_start_shows_its_log(home: Settings) -> None:
    bundled.start(home)
    bundled.stop(home)
    (home.home / "postgres" / "data" / "global" / "pg_control").write_bytes(b"\0" * 8192)
    with pytest.raises(Unavailable, match="files are incompatible with server"):
        bundled.start(home)


def test_a_lost_password_is_named(home: Settings) -> None:
    bundled.start(home)
    (home.home / "postgres" / "password").write_text("forgotten")
    with pytest.raises(Misconfigured, match="password authentication failed"):
        bundled.start(home)
    (home.home / "postgres" / "password").unlink()
    with pytest.raises(Misconfigured, match="password is missing"):
        bundled.start(home)


def test_a_database_of_another_major_version_is_named(home: Settings) -> None:
    bundled.start(home)
    bundled.stop(home)
    (home.home / "postgres" / "data" / "PG_VERSION").write_text("12\n")
    with pytest.raises(Misconfigured, match="made by PostgreSQL 12"):
        bundled.start(home)


def test_letters_of_all_scripts_count_as_letters(new: Settings) -> None:
    url = bundled.start(new)
    assert execute(url, "SHOW server_encoding") == [("UTF8",)]
    assert execute(
        url, "SELECT lower('ÉTÉ'), to_tsvector('simple', 'Größe') @@ to_tsquery('simple', 'größe')"
    ) == [("été", True)]


@needs_root
def test_root_runs_it_as_another_user_even_under_a_closed_home(new: Settings) -> None:
    new.home.chmod(0o700)
    bundled.start(new)
    status = bundled.status(new)
    assert status.pid is not None
    process = psutil.Process(status.pid)
    assert process.uids().effective == status.data.stat().st_uid != 0
    held = next(
        line
        for line in Path(f"/proc/{status.pid}/status").read_text().splitlines()
        if line.startswith("CapEff")
    )
    assert int(held.split()[1], 16).bit_count() <= 1


@needs_root
def test_a_plain_user_runs_it_under_its_own_id(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    open_to_other_users(tmp_path)
    done = as_plain_user(LIFE.format(home=str(tmp_path / "home")))
    assert done.stdout.splitlines()[-1:] == ["65534 True"], done.stderr


@needs_root
def test_root_in_a_container_runs_it_under_a_closed_home(new: Settings) -> None:
    new.home.chmod(0o700)
    bounds = ["setpriv", "--bounding-set", "-all," + ",".join(f"+{name}" for name in DOCKER.split(","))]
    code = f"{IMPORTS}\n{LIFE.format(home=str(new.home))}"
    done = subprocess.run([*bounds, sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith(" True\n"), done.stderr


@needs_root
def test_the_home_of_another_user_is_refused_with_a_remedy(home: Settings) -> None:
    bundled.start(home)
    done = as_plain_user(f"bundled.start(Settings(home={str(home.home)!r}))")
    assert "Misconfigured" in done.stderr
    assert "belongs to another OS user" in done.stderr


def as_plain_user(code: str) -> subprocess.CompletedProcess[str]:
    """Run the code in a process that changes to a plain user first."""
    become = "os.setgroups([]); os.setgid(65534); os.setuid(65534)"
    return subprocess.run(
        [sys.executable, "-c", f"{IMPORTS}\n{become}\n{code}"], capture_output=True, text=True, cwd="/"
    )
