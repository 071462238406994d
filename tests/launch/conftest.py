"""Documents that the launch tests ingest on the running cluster."""

from pathlib import Path

import pytest


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A folder with two readable files and one corrupt PDF."""
    folder = tmp_path / "manuals"
    folder.mkdir()
    (folder / "pump.md").write_text(
        "# The pump\n\nOnly the shift supervisor may stop the pump. Valve 17 is closed first.\n"
    )
    (folder / "tea.txt").write_text(
        "Tea is served in the canteen at four in the afternoon, with biscuits on Fridays.\n"
    )
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog")
    return folder
