"""The running cluster with the things that the commands of the pages name."""

import shlex
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT
from tests.launch.pages.kubectl_calls import check_call
from tests.launch.pages.page_commands import Section
from tests.running_cluster import RunningCluster
from tests.waiting import LONGEST_COMMAND_S, LONGEST_WAIT_S, until

#: The organisation whose limits the commands change.
TENANT = "tenant-of-the-handbook"
PRELUDE = Path(__file__).with_name("prelude.bash").read_text()
#: States of a job that has ended.
ENDED = {"succeeded", "failed", "cancelled"}


@dataclass(frozen=True)
class PageShell:
    """Runs the commands of a section in one Bash, in a folder that looks like the project's."""

    environment: dict[str, str]
    folder: Path
    client: httpx.Client

    def run(self, section: Section) -> str:
        """Run the commands and return what they printed. Fail if one of them fails."""
        ends(self.client, [self.environment["DEAD"]])  # an earlier section may have queued it again
        script = [PRELUDE]
        for number, step in enumerate(section.steps):
            if step.language == "python":
                program = self.folder / f"step_{number}.py"
                program.write_text(step.text)
                script.append(f"python {program.name}")
            else:
                script.append(step.text)
        calls = self.folder / "kubectl-calls"
        calls.write_text("")
        ran = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=self.folder,
            env={**self.environment, "KUBECTL_CALLS": str(calls)},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=LONGEST_COMMAND_S,
        )
        printed = ran.stdout + ran.stderr
        assert ran.returncode == 0, printed[-4_000:]
        assert "Traceback (most recent call last)" not in printed, printed[-4_000:]
        for call in calls.read_text().splitlines():
            check_call(call)
        return printed


@pytest.fixture(scope="module")
def page_shell(
    running_cluster: RunningCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PageShell]:
    """A shell whose variables name the cluster, a vector store, a file, a job, a dead letter and a schedule.

    Files that the commands write are in a folder of the tests.
    """
    folder = tmp_path_factory.mktemp("pages")
    for path in ROOT.iterdir():
        if path.name not in {".git", ".pytest_cache", ".mypy_cache", ".ruff_cache", "__pycache__"}:
            (folder / path.name).symlink_to(path)
    spare = tmp_path_factory.mktemp("spare-home")
    api, dashboard = running_cluster.api, running_cluster.dashboard
    own = {
        "SPARE_HOME": str(spare),
        "RAY_API_SERVER_ADDRESS": dashboard,
        "RAY_DASHBOARD_ADDRESS": dashboard,
        "OPENAI_BASE_URL": f"{api}/v1",
        "OPENAI_API_KEY": "local",
        "TENANT": TENANT,
        "NODE": "node-of-the-tests",
        "POD": "pod-of-the-tests",
        "URL": api,
        "KEY": "local",
    }
    # Inside `make test ARGS=...`, the options would reach the `make` of a page, too.
    ours = {
        name: value
        for name, value in running_cluster.environment.items()
        if name not in {"ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL"}
    }
    environment = {**ours, **own}
    created = subprocess.run(
        shlex.split(f"python -m cluster.organisations create {TENANT}"),
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_WAIT_S,
    )  # fmt: skip
    assert created.returncode == 0, created.stderr
    with httpx.Client(base_url=f"{api}/v1", timeout=LONGEST_WAIT_S) as client:
        yield PageShell(environment | things(client), folder, client)


def things(client: httpx.Client) -> dict[str, str]:
    """Create what the commands name. Return the ids by the names of the variables."""
    store = created(client, "/vector_stores", json={"name": "pages-of-the-handbook"})["id"]
    good = uploaded(client, "pump.md", b"# The pump\n\nOnly the shift supervisor may stop the pump.\n")
    bad = uploaded(client, "broken.pdf", b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog")
    jobs = [
        created(client, f"/vector_stores/{store}/files", json={"file_id": file})["job_id"]
        for file in (good, bad)
    ]
    assert ends(client, jobs) == ["succeeded", "failed"]
    schedule = created(
        client,
        "/schedules",
        json={"kind": "ingest_files", "input": {"vector_store_id": store}, "cron": "30 2 * * *"},
    )["id"]
    return {"STORE": store, "FILE": good, "JOB": jobs[0], "DEAD": jobs[1], "SCHEDULE": schedule}


def ends(client: httpx.Client, jobs: Sequence[str]) -> list[str]:
    """Wait until the jobs have ended, and return their states."""
    states: list[str] = until(
        lambda: [client.get(f"/jobs/{job}").json()["state"] for job in jobs], ENDED.issuperset
    )
    return states


def uploaded(client: httpx.Client, name: str, data: bytes) -> str:
    """Upload a file and return its id."""
    return str(created(client, "/files", files={"file": (name, data)}, data={"purpose": "assistants"})["id"])


def created(client: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    """Send a POST and return the object of the answer."""
    answer = client.post(path, **body)
    assert answer.status_code < 300, answer.text
    made: dict[str, Any] = answer.json()
    return made
