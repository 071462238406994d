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
LEAST_FILL = 0.4
#: A paragraph's beginning is preferred over any other sentence's.
PARAGRAPH_BONUS = 1 << 64


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
        allowed, priorities = _candidates(text, tokens)
        words = _word_starts(tokens)
        first = 0
        while total - first > self._most:
            last = self._cut(first, allowed, priorities, words)
            yield first, last
            first = last
        if first < total:
            yield first, total

    def _cut(self, first: int, allowed: NDArray[np.int64], priorities: Sequence[int], words: NDArray[np.int64]) -> int:
        """The token that begins the next chunk: of the sentences within reach the one of highest priority, else a word, else any."""
        low, high = np.searchsorted(allowed, [first + self._least, first + self._most + 1])
        if low < high:
            return int(allowed[max(range(low, high), key=priorities.__getitem__)])
        below = np.searchsorted(words, first + self._most, side="right") - 1
        return int(words[below]) if words[below] > first else first + self._most


def _candidates(text: str, tokens: Tokens) -> tuple[NDArray[np.int64], list[int]]:
    """Tokens that begin a sentence, and the priority of each."""
    starts = boundaries(text)
    first_tokens = np.searchsorted(tokens.offsets[:, 0], starts)
    inside = (first_tokens > 0) & (first_tokens < len(tokens.ids))
    paragraph = set(paragraphs(text).tolist())
    allowed: dict[int, int] = {}
    ends = [*starts[1:].tolist(), len(text)]
    for start, end, token, usable in zip(starts.tolist(), ends, first_tokens.tolist(), inside.tolist(), strict=True):
        if usable and token not in allowed:
            allowed[token] = _priority(text[start:end]) + PARAGRAPH_BONUS * (start in paragraph)
    return np.array(list(allowed), dtype=np.int64), list(allowed.values())


def _priority(sentence: str) -> int:
    """A number that only the sentence's words decide; white space may change when a page is set anew."""
    return int.from_bytes(blake2b(" ".join(sentence.split()).encode("utf-8", "replace"), digest_size=8).digest(), "big")


def _word_starts(tokens: Tokens) -> NDArray[np.int64]:
    """Tokens that do not stand right behind the one before, so that cutting there leaves every token as it is."""
    if not len(tokens.ids):
        return np.zeros(1, dtype=np.int64)
    gaps = tokens.offsets[1:, 0] > tokens.offsets[:-1, 1]
    return np.concatenate([[0], np.flatnonzero(gaps) + 1])
