"""Runs a notebook that needs the database and no Ray."""

from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from cluster.settings import Settings
from tests.conftest import ROOT
from tests.waiting import LONGEST_WAIT_S


def outputs_of(
    name: str, settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, Any]]:
    """The outputs of the cells. The committed notebook has none."""
    monkeypatch.setenv("CLUSTER_HOME", str(settings.home))
    monkeypatch.setenv("CLUSTER_DATABASE_URL", database_url)
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    assert [cell.id for cell in notebook.cells if cell.cell_type == "code" and cell.outputs] == []

    NotebookClient(notebook, timeout=LONGEST_WAIT_S, kernel_name="python3").execute()

    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
