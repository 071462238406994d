"""``notebooks/profiles.ipynb`` computes profiles of invented customers, whose truth is known."""

import nbformat
import pytest
from nbclient import NotebookClient

from cluster.settings import Settings
from tests.conftest import ROOT


def test_the_profiles_notebook_runs(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notebook itself compares topics and moods with the truth. It needs the database and no Ray."""
    monkeypatch.setenv("CLUSTER_HOME", str(settings.home))
    monkeypatch.setenv("CLUSTER_DATABASE_URL", database_url)
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = nbformat.read(ROOT / "notebooks" / "profiles.ipynb", as_version=4)
    assert [cell.id for cell in notebook.cells if cell.cell_type == "code" and cell.outputs] == []

    NotebookClient(notebook, timeout=110, kernel_name="python3").execute()

    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    assert sum(output.get("text", "").count("as invented") for output in outputs) == 6
