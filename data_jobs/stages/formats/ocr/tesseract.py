"""Recognise the text of one picture with the program Tesseract.

    recognise(GrayPicture(width=2480, height=3508, pixels=pixels, dpi=300), OcrRequest(...))

The program inherits the limits of the parsing process. When the parsing process ends, the kernel ends the
program, too. The program writes one line for each word, with the word's place, paragraph and confidence:
https://tesseract-ocr.github.io/tessdoc/Command-Line-Usage.html#tsv-output
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from cluster.records import Fact, Outcome
from data_jobs.stages.formats.contract import OcrRequest, ParserOutput, Unreadable
from data_jobs.stages.formats.line_ends import join_lines
from data_jobs.stages.formats.text import clean
from data_jobs.stages.parsing.out_of_memory import OUT_OF_MEMORY

#: Resolution at which pages are drawn. Tesseract's documentation recommends at least 300 dots per inch.
DPI = 300
#: Maximum number of pixels of a picture. A page of A4 has 8.7 million pixels at ``DPI``. A larger page is
#: drawn at a lower resolution.
MAX_PIXELS = 40_000_000
#: Columns of Tesseract's lines: the level, three numbers of the paragraph, the number of the line, the
#: confidence in percent, and the word; then the number of all columns.
LEVEL, PARAGRAPH, LINE, CONFIDENCE, TEXT, COLUMNS = 0, slice(1, 4), 4, 10, 11, 12
WORD_LEVEL = "5"
PR_SET_PDEATHSIG = 1
MAX_ERROR_CHARACTERS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class GrayPicture:
    """A picture with one byte for each pixel."""

    width: int
    height: int
    #: The rows from top to bottom, each with ``width`` bytes; 0 is black.
    pixels: bytes
    #: Resolution in dots per inch; 0 if it is unknown.
    dpi: int


def resolution_for(width: float, height: float) -> int:
    """Return the resolution in dots per inch at which a page is drawn; the page's size is in points."""
    inches = width * height / 72**2
    return max(1, min(DPI, int((MAX_PIXELS / inches) ** 0.5))) if inches > 0 else DPI


def recognise(picture: GrayPicture, request: OcrRequest, *, page_count: int) -> ParserOutput:
    """Return the recognised text as one page, with the fact ``ocr_pages`` and, if there are words, the fact
    ``ocr_confidence``.

    Args:
        picture: the picture of the page.
        request: the program and the languages.
        page_count: number of pages of the whole document.

    Raises:
        Unreadable: the program failed.
        MemoryError: the program ran out of memory.
    """
    command = [request.program, "stdin", "stdout", "-l", request.languages]
    if picture.dpi:
        command += ["--dpi", str(picture.dpi)]
    done = subprocess.run(
        [*command, "tsv"],
        input=b"P5\n%d %d\n255\n%s" % (picture.width, picture.height, picture.pixels),
        capture_output=True,
        env={**os.environ, "OMP_THREAD_LIMIT": "1"},  # more threads make one page slower on shared cores
        preexec_fn=_end_with_parent,
    )
    if done.returncode:
        error = done.stderr.decode("utf-8", "replace").strip()
        if OUT_OF_MEMORY.search(error):
            raise MemoryError
        shown = " ".join(error.split())[-MAX_ERROR_CHARACTERS:] or f"exit code {done.returncode}"
        raise Unreadable(Outcome.FAILED, f"is a picture that Tesseract could not read ({shown})")
    words = list(_words(done.stdout.decode("utf-8", "replace")))
    letters = sum(len(word.text) for word in words)
    facts: dict[Fact, str | float | bool] = {Fact.OCR_PAGES: 1}
    if letters:
        weighted = sum(word.confidence * len(word.text) for word in words)
        facts[Fact.OCR_CONFIDENCE] = round(weighted / letters, 1)
    return ParserOutput(pages=join_lines([_paragraphs(words)]), page_count=page_count, facts=facts)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Word:
    text: str
    #: Confidence in percent.
    confidence: float
    paragraph: tuple[str, ...]
    line: str


def _words(table: str) -> Iterator[_Word]:
    for row in table.splitlines():
        cells = row.split("\t", COLUMNS - 1)
        if len(cells) == COLUMNS and cells[LEVEL] == WORD_LEVEL and cells[TEXT].strip():
            yield _Word(
                text=cells[TEXT].strip(),
                confidence=float(cells[CONFIDENCE]),
                paragraph=tuple(cells[PARAGRAPH]),
                line=cells[LINE],
            )


def _paragraphs(words: list[_Word]) -> list[str]:
    """Return the paragraphs; the lines of a paragraph end in ``\\n``."""
    paragraphs: list[str] = []
    before: _Word | None = None
    for word in words:
        if before is None or word.paragraph != before.paragraph:
            paragraphs.append(word.text)
        else:
            paragraphs[-1] += (" " if word.line == before.line else "\n") + word.text
        before = word
    return [clean(paragraph) for paragraph in paragraphs]


def _end_with_parent() -> None:
    """Let the kernel end this process when the parsing process ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
