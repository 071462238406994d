"""Texts to token ids at the endpoint: what cannot be read is refused before it costs anything, and a long text delays no other request.

A text's length bounds its tokens from both sides only roughly, so there are three limits: one on the bytes of a request, one on the
characters that the tokens of one input can hold, and one on tokens, which is looked at while they are counted. Long texts are tokenised in
slices, so that memory stays small (the tokeniser takes some 300 bytes a token while it works), and so that a caller who leaves ends it.

    tokenising = Tokenising(engine.tokeniser, threads=engine.concurrency)
    ids = await tokenising.ids(["a text"], Named("input"), most=254)
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
from cluster.engines.priority import step_back
from cluster.errors import InvalidInput
from serve_app.embedding.inputs import MAX_TOKENS
from serve_app.embedding.long_inputs import Named

#: More tokens than this in one request is bulk: nobody waits for it at a keyboard.
INTERACTIVE_TOKENS = 2_048
#: Tokenised on the event loop: twenty millionths of a second, a fifth of what a thread costs to wake.
INLINE_CHARACTERS = 300
#: Longer texts are tokenised by threads that let queries go first.
INTERACTIVE_CHARACTERS = 4 * INTERACTIVE_TOKENS
#: Of all texts of a request, in UTF-8. English has four or five to a token.
MAX_BYTES = 16 * MAX_TOKENS
#: White space left out, the most that is taken for a token: more than the longest word in any language's text has.
CHARACTERS_PER_TOKEN = 64
#: A longer text is cut behind so many characters, at the first space that comes, ...
SLICE_CHARACTERS = 16_384
#: ... and where none comes, behind so many, in the middle of whatever it is.
LONGEST_SLICE = 65_536
#: Slices are tokenised together up to so many characters, on all cores; a caller who leaves ends it between two such groups.
GROUP_CHARACTERS = 2 * LONGEST_SLICE
#: A lone space, and failing that a lone line break: no tokeniser reads what lies behind it otherwise than at the start of a text.
BOUNDARIES = (re.compile(r"(?<=\S) (?=\S)"), re.compile(r"(?<=\S)\n(?=\S)"))

Ids = NDArray[np.int32]


class Tokenising:
    """One model's."""

    def __init__(self, tokeniser: Tokeniser, *, threads: int) -> None:
        self._tokeniser = tokeniser
        self._bulk = ThreadPoolExecutor(
            max(1, threads), "tokenise", initializer=lambda: step_back(threading.get_native_id())
        )

    async def ids(self, texts: Sequence[str], named: Named, *, most: int | None = None) -> list[Ids]:
        """Token ids of each text, complete and without special tokens.

        Args:
            texts: what to tokenise.
            named: how errors name them.
            most: tokens of one text; None where longer ones are not refused.

        Raises:
            InvalidInput: one is too long, or all together are.
        """
        characters = sum(map(len, texts))
        if characters <= INLINE_CHARACTERS:
            return self._tokeniser.ids(texts)
        if characters <= INTERACTIVE_CHARACTERS:
            return await asyncio.get_running_loop().run_in_executor(None, self._tokeniser.ids, texts)
        refuse_by_length(texts, named, most)
        return await self._in_slices(texts, named, most)

    async def _in_slices(self, texts: Sequence[str], named: Named, most: int | None) -> list[Ids]:
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
                message = f"{named.field} has over {MAX_TOKENS:,} tokens in all, the most that fits one request; send less at once"
                raise InvalidInput(message, param=named.field)
        return [several[0] if len(several) == 1 else np.concatenate(several) for several in parts]


@dataclass(frozen=True, slots=True)
class Part:
    """A slice of one of the texts."""

    #: Position of the text.
    of: int
    text: str
    #: The text ends with it.
    last: bool


def groups(texts: Sequence[str]) -> Iterator[list[Part]]:
    """All slices of all texts, in order, as many at a time as ``GROUP_CHARACTERS`` allow."""
    group: list[Part] = []
    room = GROUP_CHARACTERS
    for position, text in enumerate(texts):
        *before, end = slices(text)
        for part in (*(Part(position, one, False) for one in before), Part(position, end, True)):
            if group and len(part.text) > room:
                yield group
                group, room = [], GROUP_CHARACTERS
            group.append(part)
            room -= len(part.text)
    if group:
        yield group


def slices(text: str) -> Iterator[str]:
    """The text in slices whose tokens are together those of the text, unless one had to end within a word of ``LONGEST_SLICE``."""
    start = 0
    while len(text) - start > LONGEST_SLICE:
        found = (
            pattern.search(text, start + SLICE_CHARACTERS, start + LONGEST_SLICE) for pattern in BOUNDARIES
        )
        end = next((boundary.start() for boundary in found if boundary), start + LONGEST_SLICE)
        yield text[start:end]
        start = end
    yield text[start:]


def refuse_by_length(texts: Sequence[str], named: Named, most: int | None) -> None:
    """Refuse what is too long whatever tokens it would make.

    Raises:
        InvalidInput: as ``Tokenising.ids`` says.
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
                f"{named.name(position)} has {len(text):,} characters, more than fit into the {most:,} tokens that this model reads. "
                f"Split it, or {named.remedy}",
                param=named.field,
            )


def _has_more(text: str, bound: int) -> bool:
    """True when it has more characters than that, white space left out."""
    found = 0
    for start in range(0, len(text), SLICE_CHARACTERS):
        found += sum(map(len, text[start : start + SLICE_CHARACTERS].split()))
        if found > bound:
            return True
    return False


def too_long(named: Named, position: int, tokens: int, most: int, *, counted: bool = True) -> InvalidInput:
    """The error of an input with more tokens than are read.

    Args:
        named: how errors name it.
        position: its place there.
        tokens: how many it has.
        most: how many are read.
        counted: False when it has more than that, and counting ended there.
    """
    name, over = named.name(position), "" if counted else "over "
    return InvalidInput(
        f"{name} has {over}{tokens:,} tokens; this model reads {most:,}. Split it, or {named.remedy}",
        param=named.field,
    )
