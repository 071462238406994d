"""The project's own pages are true: settings, commands, paths, licences and links exist."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from runpy import run_module

import pymupdf
import pytest
from packaging.requirements import Requirement

from cluster.local import handbook
from cluster.local.environment import head_environment
from cluster.local.handbook_pdf import write_pdf
from cluster.settings import OLD_VARIABLES, Settings
from tests.conftest import ROOT
from tests.waiting import LONGEST_WAIT_S

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "benchmarks" / "README.md"])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
#: The builds of one version name different licences of their parts.
LICENCE_VARIES_BY_BUILD = {"torch"}


def test_the_settings_page_is_the_code() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == handbook.settings_page()


def test_llms_txt_is_made_from_the_index_of_the_handbook() -> None:
    text = (ROOT / "llms.txt").read_text()

    assert text == handbook.llms_txt(), "run python -m cluster.local.handbook llms > llms.txt"
    linked = re.findall(r"^- \[.+\]\((.+)\): .+$", text, re.MULTILINE)
    assert sorted(linked) == sorted(
        f"docs/{page.name}" for page in ROOT.glob("docs/*.md") if page.name != "index.md"
    )


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_setting_and_target_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    settings = {f"CLUSTER_{name.upper()}" for name in Settings.model_fields}
    if page.name == "settings.md":
        settings |= OLD_VARIABLES
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"CLUSTER_[A-Z0-9_]*[A-Z0-9]", text)) <= settings
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)) <= targets


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, made as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", page.read_text()) if "://" not in link]

    for link in links:
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_of_the_code_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(
        r"`((?:benchmarks|cluster|data_jobs|docs|notebooks|serve_app|tests)/[\w./-]*)", page.read_text()
    )

    assert [path for path in named if not (ROOT / path).exists() and not (ROOT / f"{path}.py").exists()] == []


def test_every_name_in_the_table_of_additions_exists() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("## Where do I add")[2].partition("\n## ")[0]
    folders = ("cluster", "data_jobs", "serve_app", "tests", "docs")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    names = {path.name for path in files}
    code = "\n".join(path.read_text() for path in files if path.suffix == ".py")
    named = [name for name in re.findall(r"`([^`]+)`", table) if re.fullmatch(r"[\w./-]+", name)]

    assert len(named) > 50
    for name in named:
        if "/" in name or "." in name:
            assert (ROOT / name).exists() or Path(name).name in names, name
        else:  # a table such as KINDS, or a function
            assert re.search(rf"\b{name}\b.*[=(:]", code), name


def commands_of_the_pages() -> list[str]:
    """Every ``python -m`` module that a page tells the reader to run."""
    return sorted(
        {
            name
            for page in PAGES
            for name in re.findall(r"python -m ((?:cluster|data_jobs|benchmarks)[\w.]*)", page.read_text())
        }
    )


@pytest.mark.parametrize("module", commands_of_the_pages())
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_every_command_a_page_names_explains_itself(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [module, "--help"])

    with pytest.raises(SystemExit) as ended:  # in this process, because a new one takes a second to import
        run_module(module, run_name="__main__")

    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage:")


def direct_dependencies() -> set[str]:
    """Names of every package that pyproject asks for."""
    project, groups = PROJECT["project"], PROJECT["dependency-groups"]
    lists = [
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *groups.values(),
        PROJECT["build-system"]["requires"],
    ]
    return {Requirement(line).name for lines in lists for line in lines if isinstance(line, str)}


def licence_of(package: str) -> str | None:
    """What the installed package's metadata says; None when it is not installed."""
    try:
        found = metadata(package)
    except PackageNotFoundError:
        return None
    short = found.get("License") if "\n" not in (found.get("License") or "\n") else None
    classifiers = [
        line.split("::")[-1].strip()
        for line in found.get_all("Classifier") or []
        if line.startswith("License")
    ]
    return found.get("License-Expression") or short or ", ".join(classifiers)


def test_every_direct_dependency_stands_in_the_table_of_licences() -> None:
    rows = re.findall(
        r"^\| ([\w-]+) \| [^|]+ \| ([^|]+) \|$", (ROOT / "docs" / "licences.md").read_text(), re.MULTILINE
    )
    table = {name: licence for name, licence in rows if name != "Package"}

    assert set(table) == direct_dependencies()
    installed = {name: licence_of(name) for name in sorted(set(table) - LICENCE_VARIES_BY_BUILD)}
    assert {name: licence for name, licence in installed.items() if licence and licence != table[name]} == {}


def test_the_licence_of_pymupdf_is_what_the_readme_says() -> None:
    assert "AFFERO" in (licence_of("pymupdf") or "")
    assert PROJECT["project"]["license"] == "AGPL-3.0-or-later"
    assert (ROOT / "LICENSE").read_text().lstrip().startswith("GNU AFFERO GENERAL PUBLIC LICENSE")


def test_every_dependency_is_pinned() -> None:
    pinned = {
        re.split("[=<>]", line)[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line
    }
    extras = {"s3fs", "gcsfs", "jupyterlab"}  # asked for by nobody who runs the tests

    assert {name.lower().replace("_", "-") for name in direct_dependencies()} - pinned - extras == set()


def test_ray_reports_its_usage_to_nobody(tmp_path: Path) -> None:
    deployed = subprocess.run(
        ["bash", "-c", "set -a; . cluster/deploy/ray.env; env"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONGEST_WAIT_S,
        check=True,
    )

    assert "RAY_USAGE_STATS_ENABLED=0" in deployed.stdout.splitlines()
    assert head_environment(Settings(home=tmp_path), tmp_path)["RAY_USAGE_STATS_ENABLED"] == "0"


@pytest.mark.parametrize("lines", range(0, 45, 5))
def test_no_word_of_a_page_is_lost_in_its_pdf_wherever_its_tables_stand(tmp_path: Path, lines: int) -> None:
    page, cells = tmp_path / "page.md", [f"cell{number}" for number in range(40)]
    rows = "".join(
        f"| {one} | {'a longer text of some words ' * 3}{other} |\n"
        for one, other in zip(cells[::2], cells[1::2], strict=True)
    )
    page.write_text(
        "above\n\n" * lines + f"| Word | Meaning |\n|---|---|\n{rows}\nWhat stands **behind** it.\n"
    )

    write_pdf(page, tmp_path / "page.pdf")

    with pymupdf.open(tmp_path / "page.pdf") as document:
        words = " ".join(part.get_text() for part in document).split()
    assert [word for word in words if word.startswith("cell")] == [
        word for pair in zip(cells[::2], cells[1::2], strict=True) for word in (f"{pair[0]}:", pair[1])
    ]
    assert (words.count("above"), words[-4:]) == (lines, ["What", "stands", "behind", "it."])


def test_the_handbook_becomes_pdf_and_markdown_once(tmp_path: Path) -> None:
    folder = handbook.build(tmp_path / "handbook")

    built = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {path.stem for path in built if path.suffix == ".pdf"} == handbook.AS_PDF
    assert {path.stem for path in built} == {path.stem for path in (ROOT / "docs").glob("*.md")}
    with pymupdf.open(folder / "operating.pdf") as document:
        text = "".join(page.get_text() for page in document)
        assert len(document) > 1
        assert "Two clusters on one machine" in text
        assert "make down" in text
    handbook.build(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == built
