"""``python -m data_jobs.crawl``: the job that it submits, its exit codes, and what it prints."""

import threading
import time

import pytest
from psycopg_pool import ConnectionPool

from cluster.crawls.crawls import cancel_crawl, list_crawls
from cluster.documents.vector_stores.stores import find_store
from cluster.settings import Settings
from data_jobs.crawl import main

URL = "https://docs.test/guide/"


@pytest.fixture(autouse=True)
def _environment(settings: Settings, organisation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment that the command reads."""
    monkeypatch.setenv("CLUSTER_HOME", str(settings.home))
    monkeypatch.setenv("CLUSTER_ORGANISATION", organisation)


def test_the_command_submits_a_crawl_and_shows_how_it_ends(
    pool: ConnectionPool, organisation: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [URL, "--vector-store", "guide", "--exclude", "^/guide/old", "--max-depth", "2"]
    codes: list[int] = []
    command = threading.Thread(target=lambda: codes.append(main(asked)))
    command.start()
    found = []
    while not found and command.is_alive():
        time.sleep(0.05)
        with pool.connection() as connection:
            found = list_crawls(connection, organisation).items
    with pool.connection() as connection:
        cancel_crawl(connection, organisation, found[0].id)
        store = find_store(connection, organisation, "guide")
    command.join()
    assert codes == [1]
    assert (found[0].vector_store, found[0].url) == (store.id, URL)
    assert found[0].options["exclude_paths"] == ["^/guide/old"]
    assert f"crawl {found[0].id} is cancelled" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["file:///etc/passwd"], "url is 'file:///etc/passwd'"),
        ([URL, "--include", "("], "includePaths"),
        ([URL, "--limit", "0"], "limit"),
    ],
)
def test_a_wrong_option_has_exit_code_2_and_changes_nothing(
    pool: ConnectionPool, organisation: str, capsys: pytest.CaptureFixture[str], wrong: list[str], said: str
) -> None:
    assert main([*wrong, "--vector-store", "guide"]) == 2
    assert said in capsys.readouterr().err
    with pool.connection() as connection:
        assert list_crawls(connection, organisation).items == []
