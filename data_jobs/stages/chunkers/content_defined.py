"""The content-defined chunker makes chunks that consist of whole sentences. An edit changes only the chunks
near the edit.

    chunks = ContentDefinedChunker(tokeniser, fingerprint.id).chunk(document, pages).chunks
    chunks[0].text == pages[0].text[chunks[0].start : chunks[0].end]

A chunk never spans two pages, so a citation can name the page. The content of a sentence, not its position on
the page, decides whether the sentence begins a chunk: see docs/decisions/004-content-defined-chunks.md.
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
from data_jobs.stages.chunkers.token_places import TokenPlaces, has_blanks, tokenise

#: Minimum length of a chunk, as a share of the token limit. With a smaller share, fewer chunks would change
#: after an edit, but chunks would be smaller.
LEAST_FILL = 0.3
#: Maximum number of characters of a chunk, per token of the token limit. Prose has fewer characters per
#: token, so this limit only cuts white space and signs without tokens.
CHARACTERS_PER_TOKEN = 32
#: Minimum and maximum of the character limit. The index stores at most 65,536 characters of a chunk.
LEAST_CHARACTERS, MOST_CHARACTERS = 16_384, 65_536
#: 2**64 divided by the golden ratio, so that products with this number differ in their high bits.
GOLDEN_MULTIPLIER = np.uint64(11400714819323198485)

#: Numbers of the tokens before which a page may be cut, in ascending order, and the priority of each cut.
CutPlaces = tuple[NDArray[np.int64], NDArray[np.uint64]]


class ContentDefinedChunker:
    """Divides documents into chunks. Safe to call from several threads.

    The content of a sentence decides whether the sentence begins a chunk.
    """

    def __init__(self, tokeniser: Tokeniser, fingerprint_id: str, *, max_tokens: int | None = None) -> None:
        self._tokeniser = tokeniser
        self._fingerprint_id = fingerprint_id
        self._most = min(max_tokens or tokeniser.max_content_tokens, tokeniser.max_content_tokens)
        if self._most < 1:
            raise InvalidInput(f"max_tokens is {max_tokens}; a chunk needs at least one token")
        self._least = max(1, int(self._most * LEAST_FILL))
        self._has_blanks = has_blanks(tokeniser)
        #: Maximum number of characters of a chunk.
        self.most_characters = min(MOST_CHARACTERS, max(LEAST_CHARACTERS, CHARACTERS_PER_TOKEN * self._most))

    def chunk(self, document: str, pages: Sequence[Page]) -> ChunkedDocument:
        """Return the chunks of a document in reading order. The chunks hold every token and visible character
        once.

        A page without a token has no chunk. If more than 1,024 characters in a row have no token, the
        characters in the middle are in no chunk. A letter and its marks stay together, unless this one letter
        exceeds a limit.

        Args:
            document: id of the document.
            pages: the pages of the document in order.
        """
        chunks: list[PageChunk] = []
        seen: Counter[str] = Counter()
        unknown_tokens = unknown_characters = characters = 0
        for page, tokens in zip(pages, self._tokenise(pages), strict=True):
            places = TokenPlaces.of(page.text, tokens)
            unknown = tokens.ids == self._tokeniser.unknown_id
            unknown_tokens += int(unknown.sum())
            unknown_characters += places.tokenless + int(
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
        # The count may include white space inside a word (ASCII separators), which ``characters`` does not.
        unknown_characters = min(unknown_characters, characters)
        return ChunkedDocument(
            chunks=chunks,
            unknown_tokens=unknown_tokens,
            unknown_characters=unknown_characters,
            characters=characters,
        )

    def _tokenise(self, pages: Sequence[Page]) -> list[Tokens]:
        return tokenise(self._tokeniser, [page.text for page in pages], blanks=self._has_blanks)

    def _cuts(self, text: str, tokens: Tokens, places: TokenPlaces) -> Iterator[tuple[int, int]]:
        """Yield two numbers for each chunk of a page: the first token, and the token after the last."""
        total = len(tokens.ids)
        if not total or not places.characters:
            return
        sentences, words = _sentence_starts(text, places), _word_starts(tokens, places)
        first = 0
        while (most := self._last_end(places, first)) < total:
            last = (
                _best(first + self._least, most, sentences)
                # A table or a listing has no sentences. So cut before a word or, if a single word fills the
                # window, before any letter.
                or _best(first + self._least, most, words)
                or _best(first + 1, most, words)
                or _letter(places, first, most)
            )
            yield first, last
            first = last
            if first == total:
                return
        yield first, total

    def _last_end(self, places: TokenPlaces, first: int) -> int:
        """Return the number of the last token before which a chunk with the first token ``first`` may end."""
        most, room = min(first + self._most, len(places.end) - 1), places.begin[first] + self.most_characters
        if places.end[most] <= room:
            return most
        return max(first + 1, int(np.searchsorted(places.end[: most + 1], room, side="right")) - 1)


def _best(least: int, most: int, places: CutPlaces) -> int | None:
    """Return the place with the highest priority from ``least`` to ``most``; None if there is no place."""
    tokens, priorities = places
    low, high = np.searchsorted(tokens, [least, most + 1])
    return int(tokens[low + np.argmax(priorities[low:high])]) if low < high else None


def _letter(places: TokenPlaces, first: int, most: int) -> int:
    """Return the last of the tokens from ``first + 1`` to ``most`` that begins a letter.

    A letter is a character with its combining marks. If none of these tokens begins a letter, return the last
    of them that begins a character. If none begins a character either, return the first token after ``most``
    that begins a character.
    """
    apart = places.begin >= places.end
    for possible in (places.whole, apart):
        found = np.flatnonzero(possible[first + 1 : most + 1])
        if len(found):
            return first + 1 + int(found[-1])
    return most + int(np.flatnonzero(apart[most:])[0])


def _sentence_starts(text: str, places: TokenPlaces) -> CutPlaces:
    """Return the tokens that begin a sentence, with the priority of a cut before each token."""
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
    """Return a priority made from the words of the sentence. A sentence that begins a paragraph has a higher
    priority than each other sentence. White space does not count, because a new layout changes white space.
    """
    words = " ".join(sentence.split()).encode("utf-8", "replace")
    return int.from_bytes(blake2b(words, digest_size=8).digest(), "big") >> 1 | begins_paragraph << 63


def _word_starts(tokens: Tokens, places: TokenPlaces) -> CutPlaces:
    """Return the tokens that follow white space, with the priority of a cut before each token. A cut at white
    space changes no token.
    """
    starts = np.flatnonzero((places.spaced & places.whole)[1:-1]) + 1
    # The priority depends on four tokens, because in a table two neighbouring tokens often repeat, but four
    # tokens rarely repeat. The product spreads the priorities (Knuth, TAOCP 6.4).
    padded = np.concatenate([tokens.ids, np.zeros(3, np.int32)]).astype(np.uint64)
    mixed = np.zeros(len(tokens.ids), dtype=np.uint64)
    for ahead in range(4):
        mixed = (mixed ^ padded[ahead : ahead + len(mixed)]) * GOLDEN_MULTIPLIER
    return starts, mixed[starts]
