"""``python -m data_jobs.ingest``: its exit codes, its summary and its row among the jobs."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import ray
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.vector_stores.stores import find_store
from cluster.jobs import queue
from cluster.jobs.jobs import JobState
from cluster.settings import Settings
from data_jobs.bulk.ray_session import Terminated, raising_terminated
from data_jobs.ingest import main
from tests.cluster.jobs.turns import jobs_of

pytestmark = [pytest.mark.launch, pytest.mark.usefixtures("ray_cluster")]


@pytest.fixture(autouse=True)
def _environment(settings: Settings, organisation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment that the command reads."""
    monkeypatch.setenv("CLUSTER_HOME", str(settings.home))
    monkeypatch.setenv("CLUSTER_ORGANISATION", organisation)
    monkeypatch.setenv("CLUSTER_LOG_LEVEL", "ERROR")


def test_the_exit_code_is_0_if_all_are_searchable_else_3_and_the_summary_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], pool: ConnectionPool, organisation: str
) -> None:
    (tmp_path / "good.txt").write_text("Herons stand still for hours.")
    assert main([str(tmp_path), "--vector-store", "birds", "--json"]) == 0
    (tmp_path / "empty.txt").write_text("")
    assert main([str(tmp_path), "--vector-store", "birds", "--json"]) == 3
    said = capsys.readouterr()
    first, second = map(json.loads, said.out.splitlines())
    assert (first["documents"], first["embedded"], first["outcomes"]) == (1, 1, {"ok": 1})
    assert (second["documents"], second["embedded"], second["outcomes"]) == (2, 0, {"ok": 1, "empty": 1})
    assert "empty.txt:isafileofzerobytes" in "".join(said.err.split())  # wherever the terminal wraps lines
    with pool.connection() as connection:
        jobs = jobs_of(connection, organisation)
    assert [(job.kind, job.state, job.done, job.total) for job in jobs] == [
        ("ingest", JobState.SUCCEEDED, 2, 2),
        ("ingest", JobState.SUCCEEDED, 1, 1),
    ]
    assert jobs[0].result == second


def test_odd_names_and_special_files_are_reported_and_block_nothing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    settings: Settings,
    pool: ConnectionPool,
    organisation: str,
) -> None:
    folder = tmp_path / "a[" / "b] caf\udce9"  # neither markup nor UTF-8
    folder.mkdir(parents=True)
    (folder / "na\udcefve \u202f.txt").write_text("Herons stand still for hours.")
    os.mkfifo(tmp_path / "pipe")
    (folder / "link.pdf").symlink_to(tmp_path / "pipe")
    (folder / "up").symlink_to("..")
    assert main([str(folder), "--vector-store", "odd \u202f names", "--json"]) == 3
    said = capsys.readouterr()
    summary = json.loads(said.out)
    assert summary["outcomes"] == {"ok": 1, "unreadable": 1}
    assert [line.startswith(f"{tmp_path}/a[/b] caf\ufffd/up: ") for line in summary["left_out"]] == [True]
    reported = " ".join(said.err.split())
    assert "it is a named pipe, not a file" in reported
    assert "left out" in reported
    with pool.connection() as connection:
        (job,) = jobs_of(connection, organisation)
        store = find_store(connection, organisation, "odd \u202f names")
    (row,) = open_chunk_index(settings, pool).scan(organisation, store.id, collection=store.collection)
    assert job.input["location"] == f"{tmp_path}/a[/b] caf\ufffd"
    assert row.attributes["filename"] == "na\ufffdve \u202f.txt"


def test_a_cancelled_run_ends_soon_says_so_and_can_be_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], pool: ConnectionPool, organisation: str
) -> None:
    (tmp_path / "good.txt").write_text("Herons stand still for hours.")

    def cancel() -> None:
        with pool.connection() as connection:
            while not (found := jobs_of(connection, organisation)):
                connection.commit()
                time.sleep(0.05)
            queue.cancel(connection, organisation, found[0].id)

    (canceller := threading.Thread(target=cancel)).start()
    assert main([str(tmp_path), "--vector-store", "birds"]) == 1
    canceller.join()
    assert "error: cancelled" in capsys.readouterr().err
    assert main([str(tmp_path), "--vector-store", "birds"]) == 0
    with pool.connection() as connection:
        assert [job.state for job in jobs_of(connection, organisation)] == [
            JobState.SUCCEEDED,
            JobState.CANCELLED,
        ]


@pytest.mark.parametrize("location", ["/no/such/folder", "http://127.0.0.1/x"])
def test_wrong_usage_exits_2_with_one_line(location: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([location, "--vector-store", "birds"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {location}: ")


@pytest.mark.parametrize("name", ["", "caf\udce9", "x" * 257], ids=["empty", "not UTF-8", "too long"])
def test_a_name_that_no_store_can_have_is_wrong_usage(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "--vector-store", name]) == 2
    assert capsys.readouterr().err.startswith("error: the vector store's name ")


def test_help_explains_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    for flag in (
        "PATH_OR_URI",
        "--vector-store",
        "--model",
        "--index",
        "--provider-batch",
        "--organisation",
        "--verify",
        "--json",
        "Exit code",
    ):
        assert flag in said


def test_a_command_that_is_stopped_while_it_waits_for_ray_knows_why() -> None:
    endless = ray.remote(num_cpus=0)(lambda: time.sleep(60)).remote()
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()

    with (
        pytest.raises(Terminated, match="the cluster was stopped"),
        raising_terminated("the cluster was stopped"),
    ):
        ray.get(endless)
    ray.cancel(endless, force=True)
