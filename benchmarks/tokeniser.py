"""Compare the word cache with Hugging Face's ``tokenizers`` on the same vocabulary and texts, in one thread.

    python -m benchmarks.tokeniser --documents path/to/pdfs --rounds 7

Texts are the pages of the PDFs or, without ``--documents``, of the Python language reference, which is part
of Python (``pydoc_data``). Questions are 4 to 14 consecutive words of them. Each round shuffles the texts and
starts with an empty cache:

- first sight: the first half of the texts, in which every word is new at first;
- texts not seen before: the second half;
- words seen before: the second half again, as in the later part of a long job.

Times are processor times. Ratios are taken within a round, and their medians are printed. The chunk stage
runs with either tokeniser on the same documents. Every round compares ids and offsets, and the run stops if
any differ.
"""

import argparse
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pymupdf
import tokenizers
from rich import box
from rich.console import Console
from rich.table import Table

from cluster.engines import Registry
from cluster.engines.tokens.tokeniser import LocalTokeniser
from cluster.engines.tokens.word_cache import WordCachedTokeniser
from cluster.engines.weights import ModelFolder, open_model_folder
from cluster.records import Page
from cluster.settings import Settings
from data_jobs.stages.chunkers.content_defined import ContentDefinedChunker

STATES = ("first sight", "texts not seen before", "words seen before")
PAGE_CHARACTERS = 2_000
QUESTIONS = 2_000


class HuggingFaceTokeniser:
    """Hugging Face's ``tokenizers``, called in the usual way, with its results unconverted."""

    def __init__(self, folder: ModelFolder) -> None:
        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder.path / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def ids(self, texts: list[str]) -> list[list[int]]:
        """The ids of each text."""
        return [one.ids for one in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def tokenise(self, texts: list[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """The ids and offsets of each text."""
        return [
            (one.ids, one.offsets) for one in self._tokenizer.encode_batch(texts, add_special_tokens=False)
        ]


def main() -> int:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--documents", type=Path, help="folder of PDFs (default: the Python language reference)"
    )
    parser.add_argument(
        "--rounds", type=int, default=7, help="rounds, whose medians are printed (default: %(default)s)"
    )
    arguments = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread for tokenizers, too
    documents = pages_of(arguments.documents) if arguments.documents else reference()
    pages = [page for document in documents for page in document]
    folder = open_model_folder(Registry(Settings()).default)
    title = f"{len(pages):,} pages, {sum(map(len, pages)):,} characters, medians of {arguments.rounds} rounds"
    table = Table(title=title, box=box.MARKDOWN)
    for column in ("", "tokenizers, tokens/s", "ours, tokens/s", "ids", "ids and offsets"):
        table.add_column(column, justify="right" if column else "left")
    for kind, texts in (("pages", pages), ("questions", questions(pages))):
        rounds = [measured(folder, texts, number) for number in range(arguments.rounds)]
        for state in STATES:
            table.add_row(f"{kind}, {state}", *summary([one[state] for one in rounds]))
    Console(width=200).print(table)
    ratio = statistics.median(chunking(folder, documents) for _ in range(arguments.rounds))
    print(f"chunk stage, with the cache over without: {ratio:.2f}x")
    return 0


def measured(folder: ModelFolder, texts: list[str], number: int) -> dict[str, dict[str, float]]:
    """The number of tokens, and the seconds of each party and method, by state of the cache."""
    print(f"round {number + 1}", file=sys.stderr)
    shuffled = random.Random(number).sample(texts, len(texts))
    half = len(shuffled) // 2
    theirs, seen = HuggingFaceTokeniser(folder), {}
    caches = {"ids": WordCachedTokeniser(folder), "tokenise": WordCachedTokeniser(folder)}
    for state, part in zip(STATES, (shuffled[:half], shuffled[half:], shuffled[half:]), strict=True):
        one: dict[str, float] = {}
        for way, ours in caches.items():
            one[f"theirs {way}"], expected = timed(getattr(theirs, way), part)
            one[f"ours {way}"], found = timed(getattr(ours, way), part)
            one["tokens"] = compared(way, expected, found)
        seen[state] = one
    return seen


def compared(way: str, expected: Any, found: Any) -> int:
    """The number of tokens.

    Raises:
        SystemExit: the results of the two parties differ.
    """
    ids = expected if way == "ids" else [ids for ids, _ in expected]
    same = (
        [one.tolist() for one in found]
        if way == "ids"
        else [(one.ids.tolist(), [tuple(at) for at in one.offsets.tolist()]) for one in found]
    )
    if same != expected:
        raise SystemExit("the ids or offsets differ: nothing was measured")
    return sum(map(len, ids))


def summary(rounds: list[dict[str, float]]) -> list[str]:
    """The medians of one state: the speeds for ids, and both ratios."""
    speeds = [
        f"{statistics.median(one['tokens'] / one[f'{party} ids'] for one in rounds):,.0f}"
        for party in ("theirs", "ours")
    ]
    ratios = [
        statistics.median(one[f"theirs {way}"] / one[f"ours {way}"] for one in rounds)
        for way in ("ids", "tokenise")
    ]
    return [*speeds, *(f"{ratio:.2f}x" for ratio in ratios)]


def chunking(folder: ModelFolder, documents: list[list[str]]) -> float:
    """Ratio of the chunk stage's processor time without the cache to that with a cache that starts empty."""
    numbered = [
        [Page(number=number, text=text) for number, text in enumerate(document, start=1)]
        for document in documents
    ]

    def chunk(chunker: ContentDefinedChunker) -> list[Any]:
        return [chunker.chunk("a document", pages) for pages in numbered]

    plain, expected = timed(chunk, ContentDefinedChunker(LocalTokeniser(folder), "a model"))
    cached, found = timed(chunk, ContentDefinedChunker(WordCachedTokeniser(folder), "a model"))
    if found != expected:
        raise SystemExit("the chunks differ: nothing was measured")
    return plain / cached


def timed(work: Callable[[Any], Any], argument: Any) -> tuple[float, Any]:
    """The processor seconds of a call, and its result."""
    started = time.process_time()
    answer = work(argument)
    return time.process_time() - started, answer


def pages_of(folder: Path) -> list[list[str]]:
    """The pages of each PDF."""
    documents = []
    for path in sorted(folder.rglob("*.pdf")):
        with pymupdf.open(path) as document:
            documents.append([page.get_text() for page in document])
    return documents


def reference() -> list[list[str]]:
    """The Python language reference, with one document per topic."""
    return [
        [text[at : at + PAGE_CHARACTERS] for at in range(0, len(text), PAGE_CHARACTERS)]
        for _, text in sorted(topics.items())
    ]


def questions(pages: list[str]) -> list[str]:
    """Questions of usual length from words of the pages; the same in every run."""
    words, draw = " ".join(pages).split(), random.Random(0)
    starts = [draw.randrange(len(words) - 14) for _ in range(QUESTIONS)]
    return [" ".join(words[start : start + draw.randint(4, 14)]) for start in starts]


if __name__ == "__main__":
    sys.exit(main())
