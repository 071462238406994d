"""Builds the project's handbook as documents to ingest. Some pages become PDF, all other pages stay Markdown.

The demo, the quickstart notebook and the tests call ``build``. As a command, this module prints the settings
page, which it generates from the code:

    python -m cluster.local.handbook > docs/settings.md
"""

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pymupdf
from markdown_it import MarkdownIt
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cluster.errors import InvalidInput, NotFound
from cluster.settings import CONCERNS, MIB, Concern, Settings
from cluster.settings.old_names import RENAMED

#: The handbook is part of a checkout, not of the installed package.
SOURCES = Path(__file__).resolve().parents[2] / "docs"
#: Pages that become PDF; the other pages stay Markdown.
AS_PDF = frozenset({"how-a-document-travels", "operating", "production", "recovery", "security"})
#: Maximum number of PDF pages for one page of the handbook. Content that does not fit any PDF page would
#: otherwise be moved to the next page without end.
MAX_PAGES = 100
PAPER, MARGIN_PT = "a5", 36
CSS = """
body { font-family: serif; font-size: 10pt; }
h1 { font-size: 17pt; } h2 { font-size: 13pt; }
code, pre { font-family: monospace; font-size: 8.5pt; }
pre { white-space: pre-wrap; }
"""

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
    for page in pages:
        target = folder / page.with_suffix(".pdf" if page.stem in AS_PDF else ".md").name
        if not target.exists() or target.stat().st_mtime < max(
            page.stat().st_mtime, Path(__file__).stat().st_mtime
        ):
            write_pdf(page, target) if target.suffix == ".pdf" else shutil.copyfile(page, target)
    return folder


def write_pdf(page: Path, target: Path) -> None:
    """Write a Markdown page as a PDF. ``target`` appears only after the PDF is complete.

    Raises:
        InvalidInput: the PDF would have more than ``MAX_PAGES`` pages.
    """
    story = pymupdf.Story(_html(page.read_text(encoding="utf-8")), user_css=CSS)
    paper = pymupdf.paper_rect(PAPER)
    inside = pymupdf.Rect(MARGIN_PT, MARGIN_PT, paper.width - MARGIN_PT, paper.height - MARGIN_PT)
    draft = target.with_suffix(".draft")
    writer = pymupdf.DocumentWriter(str(draft), "compress")
    more, pages = True, 0
    while more:
        pages += 1
        if pages > MAX_PAGES:
            raise InvalidInput(
                f"{page} holds something that is longer than a PDF page and cannot be broken: divide it"
            )
        device = writer.begin_page(paper)
        more, _ = story.place(inside)
        story.draw(device)
        writer.end_page()
    writer.close()
    draft.rename(target)


def _html(markdown: str) -> str:
    """Return the page as HTML, with a paragraph for each row of a table.

    Rows become paragraphs because PyMuPDF 1.28 loses table rows that do not fit a page, and the text after
    these rows.
    """
    parser = MarkdownIt().enable("table")
    tokens = parser.parse(markdown)
    for token, after in zip(tokens, [*(token.type for token in tokens[1:]), ""], strict=True):
        if token.type in ("tr_open", "tr_close"):
            token.tag = "p"
        elif token.type in ("th_close", "td_close") and after != "tr_close":
            token.type, token.content = "html_block", ": "
        elif token.type.startswith(("table_", "thead_", "tbody_", "th_", "td_")):
            token.hidden = True
    return str(parser.renderer.render(tokens, parser.options, {}))


def settings_page() -> str:
    """Return the Markdown page with every setting, its default and its meaning."""
    old_names = "\n".join(
        f"| `CLUSTER_{old.upper()}` | `CLUSTER_{new.upper()}` |" for old, new in RENAMED.items()
    )
    return SETTINGS_PAGE.format(
        concerns="\n\n".join(_section(concern) for concern in CONCERNS), old_names=old_names
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
    """Return a docstring as the text of a table cell. The names of settings become environment variables."""
    line = " ".join((text or "").replace("|", "\\|").split())
    return re.sub(
        r"``(.+?)``",
        lambda name: f"`CLUSTER_{name[1].upper()}`" if name[1] in Settings.model_fields else f"`{name[1]}`",
        line,
    )


if __name__ == "__main__":
    sys.stdout.write(settings_page())
