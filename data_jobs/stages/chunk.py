"""Chunk a document: pieces of whole sentences, as long as the model reads, at boundaries that an edit does not move.

    chunks = Chunker(tokeniser, fingerprint.id).chunk(document, pages)
    chunks[0].text == pages[0].text[chunks[0].start : chunks[0].end]

A chunk lies on one page, so that a citation names the page. Which sentence begins a chunk is decided by the content
around it and not by counting from the top of the page: see docs/decisions/004-content-defined-chunks.md.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from cluster.engines import Tokeniser, Tokens
from cluster.errors import InvalidInput
from cluster.records import Chunk, Page, chunk_id
from data_jobs.stages.sentences import boundaries, paragraphs

#: Raised by hand when the same text would give other chunks.
CHUNKER_VERSION = "1"
#: A chunk may end where it is at least this part of the limit; less would resynchronise sooner and cite smaller pieces.
LEAST_FILL = 0.3
#: 2**64 over the golden ratio: products differ in their high bits.
SPREAD = np.uint64(11400714819323198485)


class Chunker:
    """Pages to chunks. Safe to call from several threads."""

    def __init__(self, tokeniser: Tokeniser, fingerprint_id: str, *, max_tokens: int | None = None) -> None:
        self._tokeniser = tokeniser
        self._fingerprint_id = fingerprint_id
        self._most = min(max_tokens or tokeniser.max_content_tokens, tokeniser.max_content_tokens)
        if self._most < 1:
            raise InvalidInput(f"max_tokens is {max_tokens}; a chunk needs at least one token")
        self._least = max(1, int(self._most * LEAST_FILL))

    def chunk(self, document: str, pages: Sequence[Page]) -> list[Chunk]:
        """The chunks of a document in reading order; together they hold every token of every page, each once.

        Args:
            document: id of the document.
            pages: its pages in order.
        """
        chunks: list[Chunk] = []
        seen: Counter[str] = Counter()
        for page, tokens in zip(pages, self._tokeniser.tokenise([page.text for page in pages]), strict=True):
            for first, last in self._cuts(page.text, tokens):
                start, end = int(tokens.offsets[first, 0]), int(tokens.offsets[last - 1, 1])
                text = page.text[start:end]
                chunks.append(
                    Chunk(
                        id=chunk_id(document, text, seen[text], self._fingerprint_id),
                        ordinal=len(chunks),
                        page=page.number,
                        start=start,
                        end=end,
                        text=text,
                        token_ids=tuple(tokens.ids[first:last].tolist()),
                    )
                )
                seen[text] += 1
        return chunks

    def _cuts(self, text: str, tokens: Tokens) -> Iterator[tuple[int, int]]:
        """The page's chunks as ranges of its tokens."""
        total = len(tokens.ids)
        sentences, of_sentences = _sentence_starts(text, tokens)
        words, of_words = _word_starts(tokens)
        first = 0
        while total - first > self._most:
            last = (
                self._best(first, self._least, sentences, of_sentences)
                # A table or a listing has no sentences; then a word, and where one word fills the window, any token.
                or self._best(first, self._least, words, of_words)
                or self._best(first, 1, words, of_words)
                or first + self._most
            )
            yield first, last
            first = last
        if first < total:
            yield first, total

    def _best(self, first: int, least: int, starts: NDArray[np.int64], priorities: NDArray[np.uint64]) -> int | None:
        """Of the starts that leave a chunk from ``first`` between ``least`` and the limit, the one of highest priority."""
        low, high = np.searchsorted(starts, [first + least, first + self._most + 1])
        return int(starts[low + np.argmax(priorities[low:high])]) if low < high else None


def _sentence_starts(text: str, tokens: Tokens) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Tokens that begin a sentence, ascending, and the priority of each as a place to cut."""
    starts = boundaries(text)
    beginnings = set(paragraphs(text).tolist())
    priorities: dict[int, int] = {}
    ends = [*starts[1:].tolist(), len(text)]
    at = np.searchsorted(tokens.offsets[:, 0], starts).tolist()
    for start, end, token in zip(starts.tolist(), ends, at, strict=True):
        if 0 < token < len(tokens.ids):
            priorities.setdefault(token, _priority(text[start:end], begins_paragraph=start in beginnings))
    return np.array(list(priorities), dtype=np.int64), np.array(list(priorities.values()), dtype=np.uint64)


def _priority(sentence: str, *, begins_paragraph: bool) -> int:
    """A number that only the sentence's words decide; white space may change when a page is set anew."""
    words = " ".join(sentence.split()).encode("utf-8", "replace")
    return int.from_bytes(blake2b(words, digest_size=8).digest(), "big") >> 1 | begins_paragraph << 63


def _word_starts(tokens: Tokens) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Tokens that do not stand right behind the one before, so that cutting there leaves every token as it is."""
    starts = np.flatnonzero(tokens.offsets[1:, 0] > tokens.offsets[:-1, 1]) + 1
    # A pair of neighbours is often repeated in a table, four tokens seldom; multiplied to spread (Knuth, TAOCP 6.4).
    padded = np.concatenate([tokens.ids, np.zeros(3, np.int32)]).astype(np.uint64)
    mixed = np.zeros(len(tokens.ids), dtype=np.uint64)
    for ahead in range(4):
        mixed = (mixed ^ padded[ahead : ahead + len(mixed)]) * SPREAD
    return starts, mixed[starts]
