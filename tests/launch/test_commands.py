"""The README's commands on a running cluster, and the notebook."""

import subprocess
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, unquote

import httpx
import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT
from tests.running_cluster import RunningCluster
from tests.waiting import LONGEST_COMMAND_S, LONGEST_WAIT_S

pytestmark = pytest.mark.launch


def typed(cluster: RunningCluster, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a person types it in an activated environment."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env=cluster.environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=LONGEST_COMMAND_S,
    )


def search(cluster: RunningCluster, store: str, query: str) -> list[dict[str, object]]:
    """The results of a search, best first."""
    answer = httpx.post(
        f"{cluster.api}/v1/vector_stores/{store}/search", json={"query": query}, timeout=LONGEST_WAIT_S
    )
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"])


def test_a_submitted_job_ingests_into_the_database_of_the_cluster(
    running_cluster: RunningCluster, documents: Path
) -> None:
    submitted = typed(
        running_cluster, "ray", "job", "submit", "--address", running_cluster.dashboard,
        "--", "python", "-m", "data_jobs.ingest", str(documents), "--vector-store", "submitted",
    )  # fmt: skip

    printed = submitted.stdout + submitted.stderr
    assert "broken.pdf" in printed
    assert "exit code 3" in printed  # two of three are searchable
    assert search(running_cluster, "submitted", "Who may stop the pump?")[0]["filename"] == "pump.md"
    status = typed(running_cluster, "python", "-m", "cluster.local", "status")
    assert "submitted" in status.stdout


def test_the_same_command_run_directly_uses_the_running_cluster(
    running_cluster: RunningCluster, documents: Path
) -> None:
    (documents / "broken.pdf").unlink()

    # As in a shell in which a Ray with tokens was used before.
    shell = {**running_cluster.environment, "CLUSTER_LOG_LEVEL": "INFO", "RAY_AUTH_MODE": "token"}
    run = typed(
        replace(running_cluster, environment=shell),
        "python",
        "-m",
        "data_jobs.ingest",
        str(documents),
        "--vector-store",
        "direct",
    )

    assert run.returncode == 0, run.stderr
    assert f"127.0.0.1:{running_cluster.settings.ray_port}" in run.stderr
    assert search(running_cluster, "direct", "When is tea served?")[0]["filename"] == "tea.txt"


@pytest.mark.parametrize("name", ["legal/2026", "a%2Fb", "größe \u202f?#.txt"])
def test_the_proxy_passes_names_unchanged(running_cluster: RunningCluster, name: str) -> None:
    store = httpx.post(
        f"{running_cluster.api}/v1/vector_stores", json={"name": name}, timeout=LONGEST_WAIT_S
    ).json()
    content = f"{name} {store['id']}".encode()
    form = {
        "files": {"file": (name.replace("/", ""), content)},
        "data": {"purpose": "assistants", "vector_store_id": name},
    }
    file = httpx.post(f"{running_cluster.api}/v1/files", **form, timeout=LONGEST_WAIT_S).json()

    found = search(running_cluster, quote(name, safe=""), "anything")
    assert {hit["file_id"] for hit in found} <= {file["id"]}  # the file may be searchable already
    assert (file["vector_store_id"], file["filename"]) == (store["id"], name.replace("/", ""))
    content = httpx.get(f"{running_cluster.api}/v1/files/{file['id']}/content", timeout=LONGEST_WAIT_S)
    assert unquote(content.headers["content-disposition"]).endswith(f"''{file['filename']}")


def test_the_demo_on_a_running_cluster_answers_and_leaves_it_running(
    running_cluster: RunningCluster, documents: Path
) -> None:
    shown = typed(running_cluster, "python", "-m", "cluster.local.demo", str(documents))

    assert shown.returncode == 0, shown.stderr
    # Three questions for the search; the agent is asked the last one again.
    assert shown.stdout.count("What do the documents say about ") == 4
    assert "pump.md, page 1" in shown.stdout
    assert "broken.pdf" in shown.stdout + shown.stderr
    assert running_cluster.api in shown.stdout
    assert httpx.get(f"{running_cluster.api}/readyz", timeout=LONGEST_WAIT_S).status_code == 200


def test_serve_deploy_accepts_the_published_configuration(
    running_cluster: RunningCluster, tmp_path: Path
) -> None:
    published = (ROOT / "cluster" / "deploy" / "serve.yaml").read_text()
    ours = tmp_path / "serve.yaml"
    ours.write_text(published.replace("port: 8000", f"port: {running_cluster.settings.api_port}"))

    deployed = typed(running_cluster, "serve", "deploy", "--address", running_cluster.dashboard, str(ours))
    status = typed(running_cluster, "serve", "status", "--address", running_cluster.dashboard)

    assert deployed.returncode == 0, deployed.stderr
    assert "embedding-cluster" in status.stdout
    assert httpx.get(f"{running_cluster.api}/readyz", timeout=LONGEST_WAIT_S).status_code == 200


def test_the_quickstart_notebook_runs(
    running_cluster: RunningCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in running_cluster.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = nbformat.read(ROOT / "notebooks" / "quickstart.ipynb", as_version=4)

    NotebookClient(notebook, timeout=LONGEST_COMMAND_S, kernel_name="python3").execute()

    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert any(
        "recovery.pdf" in output.get("text", "") or "operating.pdf" in output.get("text", "")
        for output in outputs
    )


def test_the_committed_notebook_has_no_outputs() -> None:
    notebook = nbformat.read(ROOT / "notebooks" / "quickstart.ipynb", as_version=4)

    assert [
        cell.id
        for cell in notebook.cells
        if cell.cell_type == "code" and (cell.outputs or cell.execution_count)
    ] == []
