"""The image has all files that the programs need, and a login shell in it has Ray's variables."""

import fnmatch
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.deploy.serve_config import ray_environment
from tests.conftest import ROOT
from tests.waiting import LONGEST_COMMAND_S, LONGEST_WAIT_S

DOCKERFILE = (ROOT / "Dockerfile").read_text()
#: The compiled forward pass, as a name of a module.
FIND_LIBRARY = """
from importlib.util import find_spec
from cluster.engines.bert.compiled import LIBRARY
assert find_spec(LIBRARY).origin.startswith(cluster.__path__[0]), LIBRARY
"""


def copied() -> list[str]:
    """Return what the first stage copies from the build context."""
    lines = [line.split()[1:-1] for line in DOCKERFILE.splitlines() if line.startswith("COPY ")]
    return [name for line in lines for name in line if not name.startswith(("--", "/opt"))]


def test_the_linter_has_no_complaint() -> None:
    subprocess.run(
        [Path(sys.executable).with_name("hadolint"), ROOT / "Dockerfile"], check=True, timeout=LONGEST_WAIT_S
    )


def test_the_context_has_what_the_image_copies() -> None:
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]

    for name in copied():
        assert (ROOT / name).exists()
        assert any(fnmatch.fnmatch(name, pattern) or name.startswith(f"{pattern}/") for pattern in kept)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with this project as the image installs it: built from the files of the context only."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    pip += ["--no-compile"]
    subprocess.run(
        [*pip, "--no-build-isolation", "--target", target, source],
        check=True,
        timeout=LONGEST_COMMAND_S,
        cwd=source,
    )
    return target


def test_the_installed_package_is_complete(installed: Path) -> None:
    # The editable install of this environment would hide missing files.
    program = f"""
import sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in str(finder)]
sys.path = [{str(installed)!r}] + [path for path in sys.path if path not in ("", {str(ROOT)!r})]
import cluster
assert cluster.__file__.startswith({str(installed)!r}), cluster.__file__
{FIND_LIBRARY}
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=LONGEST_WAIT_S, cwd=installed)
    there = {path.relative_to(installed) for path in installed.rglob("*") if path.is_file()}
    for pattern in ("*.py", "*.sql", "*.yaml", "*.json", "*.env", "*.txt", "py.typed"):
        for package in ("cluster", "data_jobs", "serve_app"):
            needed = {path.relative_to(ROOT) for path in (ROOT / package).rglob(pattern)}
            needed = {path for path in needed if not {"kuberay", "helm"} & set(path.parts)}
            assert needed <= there


def test_a_login_shell_has_rays_variables() -> None:
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": "/"}
    profile = ROOT / "cluster/deploy/profile.sh"

    shown = subprocess.run(
        ["bash", "-c", f". {profile}; env"],
        env=environment,
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=LONGEST_WAIT_S,
    ).stdout

    variables = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    assert ray_environment().items() <= variables.items()
    assert variables["PATH"].startswith("/opt/embedding-cluster/bin:")
