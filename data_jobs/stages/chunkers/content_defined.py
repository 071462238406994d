"""Chunk a document: pieces of whole sentences, as long as the model reads, at boundaries that an edit does not move.

    chunks = ContentDefinedChunker(tokeniser, fingerprint.id).chunk(document, pages).chunks
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
from cluster.records import Page, PageChunk, chunk_id
from data_jobs.stages.chunkers.contract import ChunkedDocument
from data_jobs.stages.chunkers.sentences import boundaries, paragraphs
from data_jobs.stages.chunkers.token_places import Places, has_blanks, tokenise

#: A chunk may end where it is at least this part of the limit; less would resynchronise sooner and cite smaller pieces.
LEAST_FILL = 0.3
#: A chunk has at most so many characters for each token that it may have, and these two at least and at most: the first
#: is more than prose has, so that only white space and signs without tokens are cut by it; the index stores 65,536 of any.
CHARACTERS_PER_TOKEN, LEAST_CHARACTERS, MOST_CHARACTERS = 32, 16_384, 65_536
#: 2**64 over the golden ratio: products differ in their high bits.
SPREAD = np.uint64(11400714819323198485)

#: Tokens of a page, ascending, and the priority of each as a place to cut.
Starts = tuple[NDArray[np.int64], NDArray[np.uint64]]


class ContentDefinedChunker:
    """Pages to chunks. Safe to call from several threads."""

    def __init__(self, tokeniser: Tokeniser, fingerprint_id: str, *, max_tokens: int | None = None) -> None:
        self._tokeniser = tokeniser
        self._fingerprint_id = fingerprint_id
        self._most = min(max_tokens or tokeniser.max_content_tokens, tokeniser.max_content_tokens)
        if self._most < 1:
            raise InvalidInput(f"max_tokens is {max_tokens}; a chunk needs at least one token")
        self._least = max(1, int(self._most * LEAST_FILL))
        self._blanks = has_blanks(tokeniser)
        #: Characters of the longest chunk.
        self.most_characters = min(MOST_CHARACTERS, max(LEAST_CHARACTERS, CHARACTERS_PER_TOKEN * self._most))

    def chunk(self, document: str, pages: Sequence[Page]) -> ChunkedDocument:
        """The chunks of a document in reading order; together they hold every token and every visible character, each once.

        A page without a token has no chunk. Where the text has more than 1,024 characters in a row that give no token,
        those in their middle are in no chunk. Letters stay with their marks, unless one letter alone is over a limit.

        Args:
            document: id of the document.
            pages: its pages in order.
        """
        chunks: list[PageChunk] = []
        seen: Counter[str] = Counter()
        unknown_tokens = unknown_characters = characters = 0
        for page, tokens in zip(pages, self._tokenise(pages), strict=True):
            places = Places.of(page.text, tokens)
            unknown = tokens.ids == self._tokeniser.unknown_id
            unknown_tokens += int(unknown.sum())
            unknown_characters += places.unseen + int(
                (tokens.offsets[unknown, 1] - tokens.offsets[unknown, 0]).sum()
            )
            characters += places.characters
            for first, last in self._cuts(page.text, tokens, places):
                start, end = int(places.begin[first]), int(places.end[last])
                text = page.text[start:end]
                chunks.append(
                    PageChunk(
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
        # A word may hold white space that the tokeniser drops, as the separators of ASCII are.
        unknown_characters = min(unknown_characters, characters)
        return ChunkedDocument(
            chunks=chunks,
            unknown_tokens=unknown_tokens,
            unknown_characters=unknown_characters,
            characters=characters,
        )

    def _tokenise(self, pages: Sequence[Page]) -> list[Tokens]:
        return tokenise(self._tokeniser, [page.text for page in pages], blanks=self._blanks)

    def _cuts(self, text: str, tokens: Tokens, places: Places) -> Iterator[tuple[int, int]]:
        """The page's chunks as ranges of its tokens."""
        total = len(tokens.ids)
        if not total or not places.characters:
            return
        sentences, words = _sentence_starts(text, places), _word_starts(tokens, places)
        first = 0
        while (most := self._reach(places, first)) < total:
            last = (
                _best(first + self._least, most, sentences)
                # A table or a listing has no sentences; then a word, and where one word fills the window, any letter.
                or _best(first + self._least, most, words)
                or _best(first + 1, most, words)
                or _letter(places, first, most)
            )
            yield first, last
            first = last
            if first == total:
                return
        yield first, total

    def _reach(self, places: Places, first: int) -> int:
        """The token before which a chunk from ``first`` ends at the latest."""
        most, room = min(first + self._most, len(places.end) - 1), places.begin[first] + self.most_characters
        if places.end[most] <= room:
            return most
        return max(first + 1, int(np.searchsorted(places.end[: most + 1], room, side="right")) - 1)


def _best(least: int, most: int, starts: Starts) -> int | None:
    """Of the starts from ``least`` to ``most`` the one of highest priority."""
    at, priorities = starts
    low, high = np.searchsorted(at, [least, most + 1])
    return int(at[low + np.argmax(priorities[low:high])]) if low < high else None


def _letter(places: Places, first: int, most: int) -> int:
    """The last token up to ``most`` that begins a letter; where one letter fills the window, that begins a character.

    Where one character has more tokens than the window, the one behind it.
    """
    apart = places.begin >= places.end
    for possible in (places.whole, apart):
        found = np.flatnonzero(possible[first + 1 : most + 1])
        if len(found):
            return first + 1 + int(found[-1])
    return most + int(np.flatnonzero(apart[most:])[0])


def _sentence_starts(text: str, places: Places) -> Starts:
    """Tokens that begin a sentence."""
    breaks = paragraphs(text)
    starts, beginnings = boundaries(text, breaks), set(breaks.tolist())
    priorities: dict[int, int] = {}
    ends = [*starts[1:].tolist(), len(text)]
    at = np.searchsorted(places.begin[:-1], starts)
    whole = np.append(places.whole[:-1], False)[at]
    for start, end, token, cuttable in zip(starts.tolist(), ends, at.tolist(), whole.tolist(), strict=True):
        if token and cuttable:
            priorities.setdefault(token, _priority(text[start:end], begins_paragraph=start in beginnings))
    return np.array(list(priorities), dtype=np.int64), np.array(list(priorities.values()), dtype=np.uint64)


def _priority(sentence: str, *, begins_paragraph: bool) -> int:
    """A number that only the sentence's words decide; white space may change when a page is set anew."""
    words = " ".join(sentence.split()).encode("utf-8", "replace")
    return int.from_bytes(blake2b(words, digest_size=8).digest(), "big") >> 1 | begins_paragraph << 63


def _word_starts(tokens: Tokens, places: Places) -> Starts:
    """Tokens behind white space, so that cutting there leaves every token as it is."""
    starts = np.flatnonzero((places.spaced & places.whole)[1:-1]) + 1
    # A pair of neighbours is often repeated in a table, four tokens seldom; multiplied to spread (Knuth, TAOCP 6.4).
    padded = np.concatenate([tokens.ids, np.zeros(3, np.int32)]).astype(np.uint64)
    mixed = np.zeros(len(tokens.ids), dtype=np.uint64)
    for ahead in range(4):
        mixed = (mixed ^ padded[ahead : ahead + len(mixed)]) * SPREAD
    return starts, mixed[starts]
