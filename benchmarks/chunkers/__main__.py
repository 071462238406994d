"""Compare the chunkers: how well their chunks answer questions, and what they cost.

    python -m benchmarks.chunkers

The two sets are guides and the FAQs of Celery and of Django, from their source distributions on PyPI (BSD
licences), which pip downloads. The questions are the headings of the FAQs. The pages do not have these
headings, so that no question finds itself. A chunk is right if it has the beginning of the answer. The
default model ranks all chunks of a set by meaning, in this process. The cost is the number of tokens that
the model reads of a set.

Exit code 1: the semantic chunker costs more than twice the tokens of the default chunker.
"""

import argparse
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.answers.documentation import UNDERLINE, first_words
from cluster.documents.vector_stores.chunking import Chunking
from cluster.engines import Engine, Registry, open_engine
from cluster.records import Page
from cluster.settings import Settings
from data_jobs.stages.chunkers.table import chunker_for
from data_jobs.stages.formats.page_builder import PageBuilder

#: For each set: the requirement for pip, and the patterns of its pages in the distribution.
SETS = {
    "Celery": (
        "celery==5.5.3",
        ("*/docs/faq.rst", "*/docs/getting-started/**/*.rst", "*/docs/userguide/[ct]a*.rst"),
    ),
    "Django": ("Django==5.2.7", ("*/docs/faq/*.txt", "*/docs/intro/*.txt")),
}
#: The strategies to compare; the first is the default, with which the others are compared.
STRATEGIES: Mapping[str, dict[str, Any]] = {
    "content-defined": {"type": "auto"},
    "headings": {"type": "headings"},
    "fixed": {"type": "static", "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 32}},
    "semantic": {"type": "semantic"},
    "none": {"type": "none"},
}
#: Number of best chunks that count as found.
DEEP = 5
COSTLIEST_SEMANTIC = 2.0


@dataclass(frozen=True, slots=True)
class FaqQuestion:
    """A question of a FAQ, and the beginning of its answer."""

    text: str
    answer: str


@dataclass(frozen=True, slots=True)
class ChunkerResult:
    """The result of one chunker on one set."""

    chunks: int
    tokens: int
    seconds: float
    hit_at_1: float
    hit_at_5: float
    mrr: float


def main() -> int:
    """Measure, print a table for each set, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.chunkers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--sets", nargs="+", choices=list(SETS), default=list(SETS), help="the sets to measure"
    )
    chosen = parser.parse_args().sets
    engine = open_engine(Registry(Settings()).default)
    too_costly = False
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            documents, questions = read_set(Path(folder), *SETS[name])
            found = {title: measure(engine, one, documents, questions) for title, one in STRATEGIES.items()}
            print_table(f"{name}: {len(documents)} pages, {len(questions)} questions", found)
            default, semantic = (found[title].tokens for title in ("content-defined", "semantic"))
            too_costly |= semantic > COSTLIEST_SEMANTIC * default
    return int(too_costly)


def read_set(folder: Path, requirement: str, patterns: Sequence[str]) -> tuple[list[Page], list[FaqQuestion]]:
    """Download a distribution, and return its pages without the questions, and the questions."""
    command = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", *command, requirement], check=True)
    (archive,) = folder.glob(f"{requirement.partition('=')[0].lower()}-*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (root,) = (path for path in folder.glob(f"{archive.name.removesuffix('.tar.gz')}") if path.is_dir())
    pages: list[Page] = []
    questions: list[FaqQuestion] = []
    for path in sorted(
        {path for pattern in patterns for path in root.parent.glob(pattern) if root in path.parents}
    ):
        page, asked = read_page(path.read_text(encoding="utf-8"))
        pages.append(page)
        questions += asked
    return pages, questions


def read_page(text: str) -> tuple[Page, list[FaqQuestion]]:
    """Read a page in reStructuredText: headings by their underlines, indented blocks as code."""
    lines = text.split("\n")
    page, questions, marks = PageBuilder(), [], []
    body: list[str] = []
    question: str | None = None

    def close() -> None:
        content = "\n".join(body).strip("\n")
        answer = first_words(content)
        if question is not None and answer is not None:
            questions.append(FaqQuestion(question, answer))
        for block in re.split(r"\n\s*\n", content):
            (page.code if block.startswith("    ") else page.paragraph)(block)
        body.clear()

    number = 0
    while number < len(lines):
        line, below = lines[number], lines[number + 1] if number + 1 < len(lines) else ""
        underlined = UNDERLINE.fullmatch(below.rstrip()) and len(below.rstrip()) >= len(line.rstrip())
        if (
            line.strip()
            and not line.startswith((" ", ".."))
            and underlined
            and not UNDERLINE.fullmatch(line.rstrip())
        ):
            close()
            mark = below[0]
            if mark not in marks:
                marks.append(mark)
            question = line.strip() if line.strip().endswith("?") else None
            if question is None:
                page.heading(line, level=marks.index(mark) + 1)
            number += 2
            continue
        if not UNDERLINE.fullmatch(line.rstrip()):
            body.append(line)
        number += 1
    close()
    return Page(number=1, text=page.text(), structure=page.structure()), questions


def measure(
    engine: Engine, strategy: Mapping[str, Any], pages: Sequence[Page], questions: Sequence[FaqQuestion]
) -> ChunkerResult:
    """Cut and embed the pages with one strategy, ask all questions, and return the measures."""
    tokeniser, special = engine.tokeniser, engine.tokeniser.special_tokens
    used = Chunking.used(strategy, most=tokeniser.max_content_tokens)
    chunker = chunker_for(strategy).open(
        tokeniser, engine.fingerprint.id, max_tokens=used.max_tokens, overlap_tokens=used.overlap_tokens
    )
    begin = time.monotonic()
    texts: list[str] = []
    ids: list[np.ndarray] = []
    tokens = 0
    for number, page in enumerate(pages):
        prepared = chunker.prepared(f"doc-{number}", [page])
        tokens += sum(len(one) + special for one in prepared.inputs)
        vectors = (
            engine.embed_ids(prepared.inputs)
            if prepared.inputs
            else np.empty((0, engine.fingerprint.dim), np.float32)
        )
        for chunk in prepared.finish(vectors).chunks:
            texts.append(plain(chunk.indexed_text))
            ids.append(np.array(chunk.token_ids, dtype=np.int32))
    tokens += sum(len(one) + special for one in ids)
    vectors = engine.embed_ids(ids)
    seconds = time.monotonic() - begin
    asked = engine.embed_ids(tokeniser.ids([question.text for question in questions]))
    ranks = [
        rank(row, texts, plain(question.answer))
        for row, question in zip(asked @ vectors.T, questions, strict=True)
    ]
    return ChunkerResult(
        chunks=len(texts),
        tokens=tokens,
        seconds=seconds,
        hit_at_1=float(np.mean([one == 1 for one in ranks])),
        hit_at_5=float(np.mean([0 < one <= DEEP for one in ranks])),
        mrr=float(np.mean([1 / one if one else 0.0 for one in ranks])),
    )


def rank(scores: np.ndarray, texts: Sequence[str], answer: str) -> int:
    """Return the place of the first right chunk, from 1; 0 if no chunk is right."""
    for place, at in enumerate(np.argsort(-scores).tolist(), start=1):
        if answer in texts[at]:
            return place
    return 0


def plain(text: str) -> str:
    """Return the text in lower case, with one space between words."""
    return " ".join(text.casefold().split())


def print_table(title: str, found: Mapping[str, ChunkerResult]) -> None:
    """Print the results of a set, with the cost relative to the first chunker."""
    table = Table(
        "chunker", "chunks", "tokens read", "of default", "seconds", "hit@1", "hit@5", "MRR", title=title
    )
    first = next(iter(found.values()))
    for name, one in found.items():
        table.add_row(
            name,
            f"{one.chunks:,}",
            f"{one.tokens:,}",
            f"{one.tokens / first.tokens:.2f}",
            f"{one.seconds:.0f}",
            f"{one.hit_at_1:.2f}",
            f"{one.hit_at_5:.2f}",
            f"{one.mrr:.3f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    sys.exit(main())
