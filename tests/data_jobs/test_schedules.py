"""``python -m data_jobs.schedules``: an operator sees and changes the schedules of every organisation."""

import json
from typing import Any

import pytest
from psycopg import Connection

from cluster.database import bundled
from cluster.jobs.schedules.system_schedules import create_system_schedules
from cluster.settings import Settings
from data_jobs.schedules import main
from tests.cluster.jobs.turns import jobs_of

#: A job about a vector store that does not exist.
STORE = ("--kind", "ingest_files", "--input", '{"vector_store_id": "vs_none"}')


class Command:
    """Runs the command in this process, for one organisation."""

    def __init__(self, capsys: pytest.CaptureFixture[str], organisation: str) -> None:
        self._capsys, self._owner = capsys, ["--organisation", organisation]

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run the command, and return what it prints."""
        assert main([*arguments, *self._owner]) == code
        printed = self._capsys.readouterr()
        return printed.err if code else printed.out

    def read(self, *arguments: str) -> Any:
        """Run the command with ``--json``, and return the printed values."""
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def command(
    settings: Settings,
    organisation: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Command:
    monkeypatch.setenv("CLUSTER_DATABASE_URL", bundled.url(settings))
    monkeypatch.setenv("CLUSTER_HOME", str(settings.home))
    return Command(capsys, organisation)


def test_an_operator_creates_pauses_runs_and_deletes_a_schedule(
    command: Command, connection: Connection[Any], organisation: str
) -> None:
    connection.execute("UPDATE schedules SET enabled = false")  # workers would submit jobs of other tests
    window = ("--window", "22:00-06:00", "--window-days", "mon,tue")
    cron = ("--cron", "30 2 * * *", "--time-zone", "Europe/Berlin", "--not-before", "2027-03-28T00:00:00Z")
    system = Command(command._capsys, "system")
    made = system.read("create", "--kind", "expire", "--name", "a name", "--paused", *cron, *window)
    id = made["id"]
    assert made["run_window"]["days"] == ["mon", "tue"]
    (line,) = [line for line in system("list").splitlines() if line.startswith(id)]
    assert {"a", "name", "expire", "paused", "Europe/Berlin"} <= set(line.split())
    assert "2027-03-28 03:30+02:00" in system("resume", id)
    assert "is paused" in system("pause", id)
    assert "submitted job_" in system("run", id)
    assert [run["state"] for run in system.read("history", id)] == ["queued"]
    assert "a person" in system("history", id)
    assert "no schedule" in command("history", id, code=1)
    assert json.loads(system("delete", id, "--json"))["deleted"]
    assert "no schedule" in system("pause", id, code=1)


def test_the_cluster_s_own_schedules_belong_to_system(
    command: Command, connection: Connection[Any], organisation: str
) -> None:
    create_system_schedules(connection)
    assert "sched_expire" not in command("list")
    assert "sched_expire" in Command(command._capsys, "system")("list")
    connection.execute("DELETE FROM schedules")


def test_a_schedule_of_all_organisations_gives_each_a_job(
    command: Command, connection: Connection[Any], organisation: str
) -> None:
    system = Command(command._capsys, "system")
    made = command.read("create", "--kind", "expire", "--every", "3600", "--all-organisations", "--paused")
    assert (made["organisation"], made["all_organisations"]) == ("system", True)
    system("run", made["id"])
    (job,) = jobs_of(connection, organisation)
    assert (job.kind, job.schedule) == ("expire", made["id"])
    assert organisation in system("history", made["id"], "--limit", "10000")
    system("delete", made["id"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--kind", "expire", "--every", "60"), "must be one of"),
        (("--kind", "ingest_files", "--every", "60"), "input.vector_store_id"),
        (("--kind", "ingest_files", "--every", "60", "--input", "[]"), "JSON object"),
        ((*STORE, "--every", "60"), "no vector store"),
        (("--kind", "ingest_files", "--cron", "61 * * * *"), "cron"),
        ((*STORE, "--every", "60", "--window", "22:00"), "22:00-06:00"),
    ],
)
def test_a_schedule_that_could_not_work_is_refused(
    command: Command, options: tuple[str, ...], words: str
) -> None:
    assert words in command("create", *options, code=1)
    assert command.read("list") == []
