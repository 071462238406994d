"""Reads the commands of a page of the handbook, section by section.

    sections("docs/runbook.md")

These parts of a page are commands:

- a fenced block of the language ``bash`` or ``python``;
- inline code that begins with one of ``PROGRAMS`` and has at least one argument.

A block of one of ``OTHER_LANGUAGES`` is no command. Every block names its language. A block that begins with
```` ```python celery ```` is code for Celery: it must be valid Python, and is not executed.
"""

import ast
import re
from dataclasses import dataclass, field

from tests.conftest import ROOT

#: Programs whose commands in inline code are executed.
PROGRAMS = ("python", "make", "curl", "serve", "ray", "kubectl", "df", "du", "nvidia-smi", "prometheus")
#: Languages of blocks that only show something.
OTHER_LANGUAGES = {"text", "json", "yaml", "ini"}
FENCE = re.compile(r"^( *)```(.*)\n((?:.*\n)*?)\1```$", re.MULTILINE)
INLINE = re.compile(rf"`((?:{'|'.join(PROGRAMS)}) [^`]+)`")


@dataclass(frozen=True, slots=True)
class Step:
    """Commands of one block, or one command in inline code."""

    language: str
    text: str


@dataclass(slots=True)
class Section:
    """The commands under one heading, in the order of the page."""

    page: str
    heading: str
    steps: list[Step] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Name of the test of this section."""
        return f"{self.page.removeprefix('docs/')}: {self.heading}"


def sections(page: str) -> list[Section]:
    """Return the sections of the page that have commands. ``page`` is a path in the project.

    A command in inline code that the page has already, also as a line of a block, is left out.
    """
    found, seen = [], set()
    for part in re.split(r"^#+ ", FENCE.sub(_protected, (ROOT / page).read_text()), flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        section = Section(page, heading)
        for step in _steps(body.replace(HASH, "#")):
            if step.text not in seen:
                section.steps.append(step)
            seen.update(step.text.splitlines())
        if section.steps:
            found.append(section)
    return found


#: Takes the place of ``#`` at the beginning of a line of a block, where it begins a comment and no heading.
HASH = "\x00"


def _protected(block: re.Match[str]) -> str:
    return re.sub(r"^#", HASH, block[0], flags=re.MULTILINE)


def _steps(body: str) -> list[Step]:
    steps, end = [], 0
    for block in FENCE.finditer(body):
        steps += _inline(body[end : block.start()])
        steps += _of_block(block[2].strip(), re.sub(f"^{block[1]}", "", block[3], flags=re.MULTILINE))
        end = block.end()
    return [*steps, *_inline(body[end:])]


def _inline(text: str) -> list[Step]:
    return [
        Step("bash", re.sub(r"\s+", " ", command.replace(r"\|", "|"))) for command in INLINE.findall(text)
    ]


def _of_block(language: str, text: str) -> list[Step]:
    if language in {"bash", "python"}:
        return [Step(language, text)]
    if language == "python celery":
        ast.parse(text)
    else:
        assert language in OTHER_LANGUAGES, f"name the language of this block after the three marks:\n{text}"
    return []
