"""Names of stores and folders are never read as markup, and two folders never share the demo's store."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from cluster.local.questions import store_name
from cluster.local.status import ClusterStatus, StoreCounts, show

COUNTS = {"documents": 1, "not_indexed": 0, "chunks": 2, "tokens": 3}


@pytest.mark.parametrize("name", ["[/red] manuals", "[red]manuals", "a\x1b[2Jb"])
def test_the_status_shows_a_store_by_its_own_name(name: str) -> None:
    page = io.StringIO()
    store = StoreCounts(organisation="default", name=name, id="vs_1", **COUNTS)
    show(
        ClusterStatus(home=f"/srv/{name}", parts=(), database_bytes=1, stores=(store,)),
        Console(file=page, width=200),
    )
    assert page.getvalue().count(name.replace("\x1b", "\ufffd")) == 2


def test_a_folder_name_without_latin_letters_gets_a_store_name_of_its_own(tmp_path: Path) -> None:
    assert store_name(tmp_path / "My Manuals (2026)") == "my-manuals-2026"
    names = {store_name(tmp_path / name) for name in ("手册", "руководства", "دلیل")}
    assert len(names) == 3
    assert all(name.startswith("documents-") and name.isascii() for name in names)
