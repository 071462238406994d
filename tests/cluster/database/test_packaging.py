"""The wheel holds the SQL files, the program that runs as HAProxy, and the compiled forward."""

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

from tests.conftest import ROOT


def test_the_wheel_holds_every_sql_file_and_the_compiled_code(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for package in ("cluster", "data_jobs", "serve_app"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("*.so"))
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", build, str(tmp_path)],
        cwd=tree,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    ours = {str(path.relative_to(ROOT)) for path in ROOT.glob("cluster/**/*.sql")}
    assert "cluster/database/migrations/0001_foundation.sql" in ours
    names = ZipFile(wheel).namelist()
    assert ours <= set(names)
    assert ZipFile(wheel).getinfo("cluster/deploy/haproxy").external_attr >> 16 & 0o111, "Serve can run it"
    if shutil.which("cc"):
        assert [name for name in names if name.startswith("cluster/engines/bert/_avx2.")]
