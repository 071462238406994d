"""Check that the parsers find all words in the test data and pages of eight other projects.

    python -m benchmarks.words [--only pdf] [--file SUBSTRING] [--words]

The parser reads each file in its limited process, and so does a reader that shares no code with it
(``word_readers``). A file passes if our text has 98% of that reader's words, each counted as often as it
occurs. Exit code 1: a file is below that without a reason in ``word_files.EXCEPTIONS``.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from benchmarks.word_counts import missing, words
from benchmarks.word_files import EXCEPTIONS, WordFile, word_files
from benchmarks.word_readers import READERS, text_of
from cluster.settings import Settings
from data_jobs.stages.parsing.parser import Parser

BAR = 0.98
#: Files with fewer words are skipped.
LEAST_WORDS = 20
MAX_WORDS_PRINTED = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """The result for one file."""

    file: WordFile
    outcome: str
    #: Number of words of the other reader.
    words: int
    missing: Counter[str]

    @property
    def share(self) -> float:
        """Share of the words that are present, in [0, 1]."""
        return 1 - self.missing.total() / self.words

    @property
    def passes(self) -> bool:
        """True at the bar or above."""
        return self.share >= BAR


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    with Parser(Settings()) as parser:
        chosen = [
            file
            for file in word_files()
            if file.kind == (options.only or file.kind) and options.file in file.name
        ]
        scores = [score for file in chosen if (score := _score(parser, file)) is not None]
    print("\n".join(_table(scores)))
    below = [score for score in scores if not score.passes]
    if options.words:
        for score in below:
            print(
                f"{score.file.name}:",
                *(word for word, _ in score.missing.most_common(MAX_WORDS_PRINTED)),
            )
    unexplained = [score.file.name for score in below if score.file.name not in EXCEPTIONS]
    needless = [score.file.name for score in scores if score.passes and score.file.name in EXCEPTIONS]
    print(
        f"{len(scores)} files, {len(scores) - len(below)} at {BAR:.0%} or above, "
        f"{len(below) - len(unexplained)} excepted with a reason"
    )
    for name in needless:
        print(f"no longer needs an exception: {name}")
    if unexplained:
        print(f"FAILED: below {BAR:.0%} without a reason: {', '.join(unexplained)}")
    return 1 if unexplained else 0


def _score(parser: Parser, file: WordFile) -> Score | None:
    theirs = text_of(file.kind, file.data, encoding=file.encoding)
    total = words(theirs).total()
    if total < LEAST_WORDS:
        return None
    parsed = parser.parse(file.data, name=Path(file.name).name)
    ours = "\n".join(page.text for page in parsed.pages)
    return Score(file=file, outcome=parsed.outcome, words=total, missing=missing(theirs, ours))


def _table(scores: Iterable[Score]) -> Iterable[str]:
    """One line per file, and one line per kind of file and archive."""
    yield "| file | outcome | words | present | |"
    yield "| --- | --- | ---: | ---: | --- |"
    for score in scores:
        reason = "" if score.passes else EXCEPTIONS.get(score.file.name, "BELOW")
        yield f"| {score.file.name} | {score.outcome} | {score.words:,} | {score.share:.1%} | {reason} |"
    yield ""
    yield "| kind | from | files | words | present | at the bar | excepted |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    for (kind, archive), group in groupby(sorted(scores, key=_source), key=_source):
        found = list(group)
        total = sum(score.words for score in found)
        present = 1 - sum(score.missing.total() for score in found) / total
        passed = sum(score.passes for score in found)
        excepted = sum(not score.passes and score.file.name in EXCEPTIONS for score in found)
        yield f"| {kind} | {archive} | {len(found)} | {total:,} | {present:.2%} | {passed} | {excepted} |"


def _source(score: Score) -> tuple[str, str]:
    return score.file.kind, score.file.name.partition("/")[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.words",
        description="Compare the words that the parsers find with those of other readers.",
    )
    parser.add_argument("--only", choices=list(READERS), help="only files of this kind")
    parser.add_argument("--file", default="", metavar="SUBSTRING", help="only files whose path contains this")
    parser.add_argument("--words", action="store_true", help="print some of the missing words")
    return parser


if __name__ == "__main__":
    sys.exit(main())
