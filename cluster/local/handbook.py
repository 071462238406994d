"""Builds the project's handbook as documents to ingest. Some pages become PDF, all other pages stay Markdown.
Without PyMuPDF, all pages stay Markdown.

The demo, the quickstart notebook and the tests call ``build``. As a command, this module prints the settings
page, which it generates from the code, or the index of the handbook for language models (https://llmstxt.org):

    python -m cluster.local.handbook > docs/settings.md
    python -m cluster.local.handbook llms > llms.txt
"""

import argparse
import re
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cluster.errors import NotFound
from cluster.settings import CONCERNS, MIB, Concern, Settings
from cluster.settings.old_names import RENAMED

#: Folder with the pages of the handbook. The folder is part of a checkout, but not of the installed package.
SOURCES = Path(__file__).resolve().parents[2] / "docs"
#: Pages that become PDF; the other pages stay Markdown.
AS_PDF = frozenset({"how-a-document-travels", "operating", "production", "recovery", "security"})
SETTINGS_PAGE = """# Settings

Settings are environment variables. A process reads them once, when it starts. Every default works on a laptop
without network, GPU or server. Relative paths are resolved from the folder of the process that reads them.

{concerns}

## Old names

These names work until release 0.2. A process that finds one warns and names the new one; two different values
for one setting are an error.

| Old name | New name |
|---|---|
{old_names}

This page is generated from `cluster/settings/` by `python -m cluster.local.handbook > docs/settings.md`.
A test fails when the page and the code differ.
"""

LLMS_TXT = """# Embedding cluster

> {summary}

{purpose}

## Handbook

{pages}

## Optional

{optional}
"""
#: Pages that a language model may leave out if its context is short.
OPTIONAL = frozenset({"glossary.md", "licences.md"})
INDEX_ROW = re.compile(r"^\| \[(.+?)\]\((.+?)\) \| (.+?) \|$", re.MULTILINE)

CONCERN_SECTION = """## {title}

{sentence}

| Variable | Default | Meaning |
|---|---|---|
{rows}"""


def build(folder: Path) -> Path:
    """Build the missing and the outdated pages of the handbook in ``folder``, and return ``folder``.

    Raises:
        NotFound: this is an installation without a checkout.
    """
    pages = sorted(SOURCES.glob("*.md"))
    if not pages:
        raise NotFound(f"the handbook is not in {SOURCES}: run from a checkout, or name a folder of your own")
    folder.mkdir(parents=True, exist_ok=True)
    can_draw = find_spec("pymupdf") is not None
    for page in pages:
        is_pdf = can_draw and page.stem in AS_PDF
        target = folder / page.with_suffix(".pdf" if is_pdf else ".md").name
        if not target.exists() or target.stat().st_mtime < max(
            page.stat().st_mtime, Path(__file__).stat().st_mtime
        ):
            _write_pdf(page, target) if is_pdf else shutil.copyfile(page, target)
    return folder


def _write_pdf(page: Path, target: Path) -> None:
    from cluster.local.handbook_pdf import write_pdf  # noqa: PLC0415  only PDF pages need PyMuPDF

    write_pdf(page, target)


def settings_page() -> str:
    """Return the Markdown page with every setting, its default and its meaning."""
    old_names = "\n".join(
        f"| `CLUSTER_{old.upper()}` | `CLUSTER_{new.upper()}` |" for old, new in RENAMED.items()
    )
    return SETTINGS_PAGE.format(
        concerns="\n\n".join(_section(concern) for concern in CONCERNS), old_names=old_names
    )


def llms_txt() -> str:
    """Return the text of ``llms.txt``: a link to each page of the handbook, and the page's questions."""
    text = (SOURCES / "index.md").read_text(encoding="utf-8")
    _, summary, purpose, *_ = text.split("\n\n")
    links: dict[bool, list[str]] = {False: [], True: []}
    for title, page, questions in INDEX_ROW.findall(text):
        links[page in OPTIONAL].append(f"- [{title}](docs/{page}): {questions}")
    return LLMS_TXT.format(
        summary=" ".join(summary.split()),
        purpose=" ".join(purpose.split()),
        pages="\n".join(links[False]),
        optional="\n".join(links[True]),
    )


def _section(concern: type[Concern]) -> str:
    """Return the section of the settings page about one concern. The class's name becomes the title."""
    rows = "\n".join(
        f"| `CLUSTER_{name.upper()}` | {_default(field)} | {_cell(field.description)} |"
        for name, field in concern.model_fields.items()
    )
    words = re.findall("[A-Z][a-z]+", concern.__name__.removesuffix("Settings"))
    title = " ".join(words).capitalize()
    return CONCERN_SECTION.format(title=title, sentence=_cell(concern.__doc__), rows=rows)


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if value is PydanticUndefined:
        return "the user's data folder"
    if value is None:
        return "unset"
    if value == ():
        return "none"
    if isinstance(value, int) and value >= MIB and value % MIB == 0:
        return f"`{value}` ({value // MIB} MiB)"
    return f"`{value}`"


def _cell(text: str | None) -> str:
    """Return a docstring as the text of a table cell. A setting gets the name of its environment variable."""
    line = " ".join((text or "").replace("|", "\\|").split())
    return re.sub(
        r"``(.+?)``",
        lambda name: f"`CLUSTER_{name[1].upper()}`" if name[1] in Settings.model_fields else f"`{name[1]}`",
        line,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the page that the command line names, and return the exit code of the process."""
    parser = argparse.ArgumentParser(
        prog="python -m cluster.local.handbook", description="Print a page that is generated from the code."
    )
    parser.add_argument(
        "page",
        nargs="?",
        choices=tuple(_GENERATED),
        default="settings",
        help="settings: docs/settings.md; llms: llms.txt, the index of the handbook for language models",
    )
    sys.stdout.write(_GENERATED[parser.parse_args(arguments).page]())
    return 0


_GENERATED = {"settings": settings_page, "llms": llms_txt}

if __name__ == "__main__":
    sys.exit(main())
