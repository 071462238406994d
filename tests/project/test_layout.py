"""The shape of the code: sizes, names, and the picture in ARCHITECTURE.md against the imports."""

import ast
import re
import subprocess
import tomllib
from collections import Counter, defaultdict
from pathlib import Path

from tests.conftest import ROOT

PACKAGES = ("cluster", "data_jobs", "serve_app")
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_FOLDER_FILES = 350, 50, 20
#: Folders that only grow: each change of the schema, each lasting choice and each new capability adds a file.
RECORDS = {Path("cluster/database/migrations"), Path("docs/decisions"), Path("docs")}


def tracked(*folders: str) -> list[Path]:
    """Files of these folders that are in version control, relative to the project."""
    command = ["git", "ls-files", "-z", *folders]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in listed.split("\0") if name and (ROOT / name).exists()]


CODE = [file for file in tracked(*PACKAGES, "benchmarks") if file.suffix == ".py"]
TREES = {file: ast.parse((ROOT / file).read_text(encoding="utf-8")) for file in CODE}


def test_no_file_is_longer_than_350_lines() -> None:
    lines = {file: len((ROOT / file).read_text(encoding="utf-8").splitlines()) for file in CODE}

    assert {str(file): count for file, count in lines.items() if count > MAX_FILE_LINES} == {}


def test_no_function_is_longer_than_50_lines() -> None:
    functions = [
        (f"{file}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1)
        for file, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    assert [name for name, lines in functions if lines > MAX_FUNCTION_LINES] == []


def test_no_folder_holds_more_than_20_files() -> None:
    folders = Counter(file.parent for file in tracked() if file.parts[0] != "tests")

    assert [
        str(folder) for folder in folders if folders[folder] > MAX_FOLDER_FILES and folder not in RECORDS
    ] == []


def test_every_type_has_a_name_of_its_own() -> None:
    places = defaultdict(list)
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(file))

    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_every_module_class_and_public_function_has_a_docstring() -> None:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    missing = [
        f"{file}:{getattr(node, 'name', '')}"
        for file, tree in TREES.items()
        for node in [tree, *tree.body]
        if isinstance(node, documented)
        and not getattr(node, "name", "").startswith("_")
        and ast.get_docstring(node) is None
        and not any(getattr(mark, "id", "") == "overload" for mark in getattr(node, "decorator_list", []))
    ]

    assert missing == []


def test_the_picture_of_the_rooms_is_what_the_import_check_enforces() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    enforced = {
        container: layers["layers"]
        for layers in contracts
        if layers.get("exhaustive")
        for container in layers["containers"]
    }
    pictures = re.findall(
        r"^```\n(\w+)\n((?:    .+\n)+)```$", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE
    )

    assert {
        package: [re.split(r"\s{2,}", line.strip())[0] for line in lines.splitlines()]
        for package, lines in pictures
    } == enforced
    assert set(enforced) == set(PACKAGES)
