"""Tokenise the texts of requests. Texts that are too long are refused early, and long texts do not delay
other requests.

The length of a text gives only a rough bound on its number of tokens. So there are three limits: on the bytes
of a request, on the characters of one input, and on the tokens, which are checked while they are counted.
Long texts are tokenised in slices. This keeps memory small (the tokeniser needs about 300 bytes per token
while it works), and the work ends early if the caller is cancelled.

    tokenising = Tokenising(engine.tokeniser, threads=engine.concurrency)
    ids = await tokenising.ids(["a text"], InputField("input"), most=254)
"""

import asyncio
import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cluster.engines.contract import Tokeniser
from cluster.engines.priority import lower_priority
from cluster.errors import InvalidInput
from serve_app.embedding.inputs import MAX_TOKENS
from serve_app.embedding.long_inputs import InputField

#: Requests with more tokens than this go into the lane ``bulk`` by default.
INTERACTIVE_TOKENS = 2_048
#: Requests with up to this many characters are tokenised on the event loop. Tokenising them takes 20 µs, a
#: fifth of the time to wake a thread.
INLINE_CHARACTERS = 300
#: Requests with more characters are tokenised by threads of lower priority, because queries must come first.
INTERACTIVE_CHARACTERS = 4 * INTERACTIVE_TOKENS
#: Maximum number of bytes of all texts of a request, in UTF-8. English has four or five bytes per token.
MAX_BYTES = 16 * MAX_TOKENS
#: Maximum number of characters per token, white space not counted. No common word is longer.
CHARACTERS_PER_TOKEN = 64
#: Minimum number of characters of a slice, except the last slice of a text. The slice ends at the next
#: boundary (``BOUNDARIES``).
SLICE_CHARACTERS = 16_384
#: Maximum number of characters of a slice. A slice ends here if there is no boundary before this point.
LONGEST_SLICE = 65_536
#: Maximum number of characters of the slices that are tokenised together, on all cores. A cancelled request
#: ends between two such groups.
GROUP_CHARACTERS = 2 * LONGEST_SLICE
#: Boundaries of slices: a single space, or a single line break if there is no such space. The text after a
#: boundary has the same tokens as at the start of a text, with every tokeniser.
BOUNDARIES = (re.compile(r"(?<=\S) (?=\S)"), re.compile(r"(?<=\S)\n(?=\S)"))

Ids = NDArray[np.int32]


class Tokenising:
    """Tokenises texts for one model."""

    def __init__(self, tokeniser: Tokeniser, *, threads: int) -> None:
        self._tokeniser = tokeniser
        self._bulk = ThreadPoolExecutor(
            max(1, threads), "tokenise", initializer=lambda: lower_priority(threading.get_native_id())
        )

    async def ids(self, texts: Sequence[str], named: InputField, *, most: int | None = None) -> list[Ids]:
        """Return the token ids of each whole text, without special tokens.

        Args:
            texts: the texts to tokenise.
            named: the request's field, for error messages.
            most: maximum number of tokens of one text; None: texts of any length are accepted.

        Raises:
            InvalidInput: the texts have over ``INTERACTIVE_CHARACTERS`` characters, and a text or all texts
                together are too long. The caller must check shorter texts.
        """
        characters = sum(map(len, texts))
        if characters <= INLINE_CHARACTERS:
            return self._tokeniser.ids(texts)
        if characters <= INTERACTIVE_CHARACTERS:
            return await asyncio.get_running_loop().run_in_executor(None, self._tokeniser.ids, texts)
        refuse_by_length(texts, named, most)
        return await self._in_slices(texts, named, most)

    async def _in_slices(self, texts: Sequence[str], named: InputField, most: int | None) -> list[Ids]:
        loop = asyncio.get_running_loop()
        parts: list[list[Ids]] = [[] for _ in texts]
        counts, total = [0] * len(texts), 0
        for group in groups(texts):
            found = await loop.run_in_executor(self._bulk, self._tokeniser.ids, [part.text for part in group])
            for part, ids in zip(group, found, strict=True):
                parts[part.of].append(ids)
                counts[part.of] += len(ids)
                total += len(ids)
                if most is not None and counts[part.of] > most:
                    raise too_long(named, part.of, counts[part.of], most, counted=part.last)
            if total > MAX_TOKENS:
                raise InvalidInput(
                    f"{named.field} has over {MAX_TOKENS:,} tokens in all, the limit of one request; send "
                    "fewer texts",
                    param=named.field,
                )
        return [several[0] if len(several) == 1 else np.concatenate(several) for several in parts]


@dataclass(frozen=True, slots=True)
class TextSlice:
    """A slice of one of the texts."""

    #: Position of the text among all texts.
    of: int
    text: str
    #: True for the last slice of the text.
    last: bool


def groups(texts: Sequence[str]) -> Iterator[list[TextSlice]]:
    """Return all slices of all texts, in order, in groups of at most ``GROUP_CHARACTERS``."""
    group: list[TextSlice] = []
    room = GROUP_CHARACTERS
    for position, text in enumerate(texts):
        *before, end = slices(text)
        for part in (*(TextSlice(position, one, False) for one in before), TextSlice(position, end, True)):
            if group and len(part.text) > room:
                yield group
                group, room = [], GROUP_CHARACTERS
            group.append(part)
            room -= len(part.text)
    if group:
        yield group


def slices(text: str) -> Iterator[str]:
    """Cut the text into slices. The slices together have the same tokens as the whole text, if every slice
    can end at a boundary.
    """
    start = 0
    while len(text) - start > LONGEST_SLICE:
        found = (
            pattern.search(text, start + SLICE_CHARACTERS, start + LONGEST_SLICE) for pattern in BOUNDARIES
        )
        end = next((boundary.start() for boundary in found if boundary), start + LONGEST_SLICE)
        yield text[start:end]
        start = end
    yield text[start:]


def refuse_by_length(texts: Sequence[str], named: InputField, most: int | None) -> None:
    """Refuse texts that have too many tokens even if each token has as many characters as possible.

    Raises:
        InvalidInput: a text is too long, or all texts together are too long.
    """
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    if size > MAX_BYTES:
        raise InvalidInput(
            f"{named.field} has {size:,} bytes of text in all; at most {MAX_BYTES:,} fit one request",
            param=named.field,
        )
    if most is None:
        return
    bound = most * CHARACTERS_PER_TOKEN
    for position, text in enumerate(texts):
        if len(text) > bound and _has_more(text, bound):
            raise InvalidInput(
                f"{named.name(position)} has {len(text):,} characters, more than fit into the {most:,} "
                "tokens that this model reads. "
                f"Split it, or {named.remedy}",
                param=named.field,
            )


def _has_more(text: str, bound: int) -> bool:
    """Return True if the text has more than ``bound`` characters, white space not counted."""
    found = 0
    for start in range(0, len(text), SLICE_CHARACTERS):
        found += sum(map(len, text[start : start + SLICE_CHARACTERS].split()))
        if found > bound:
            return True
    return False


def too_long(
    named: InputField, position: int, tokens: int, most: int, *, counted: bool = True
) -> InvalidInput:
    """Return the error for an input with too many tokens.

    Args:
        named: the request's field.
        position: position of the input in the field.
        tokens: number of tokens of the input.
        most: maximum number of tokens that the model reads.
        counted: False if counting ended early, so the input may have more than ``tokens``.
    """
    name, over = named.name(position), "" if counted else "over "
    return InvalidInput(
        f"{name} has {over}{tokens:,} tokens; this model reads {most:,}. Split it, or {named.remedy}",
        param=named.field,
    )
