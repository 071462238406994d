"""Where a BERT tokeniser's words lie in a text, and how they are spelt once normalised: many texts at once, in numpy.

Called by ``WordCachedTokeniser``.

    finder = WordFinder(tokenizer)
    finder.find(finder.read("Naïve, isn't it")).spellings      # ["naive", ",", "isn", "'", "t", "it"]

What becomes of a character is asked of the tokeniser itself when the character is first seen, so that no table of
Unicode stands here that could differ from its own.
"""

import unicodedata
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import tokenizers
from numpy.typing import NDArray

from cluster.engines.tokens.tokeniser import LocalTokeniser

CODE_POINTS = 0x110000
SPACE = ord(" ")


class Kind(IntEnum):
    """What a character does to the word it stands in."""

    #: Nobody has asked yet.
    UNSEEN = 0
    #: Goes on with the word, as one character.
    LETTER = 1
    #: Is a word by itself: punctuation, a Chinese character.
    ALONE = 2
    #: Ends the word.
    SPACE = 3
    #: Vanishes: control characters, accents that stand by themselves.
    DROPPED = 4
    #: Becomes several characters, or a mark that trades places with its neighbours: only the tokeniser can tell.
    UNCLEAR = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Characters:
    """The n characters of a text."""

    #: (n,) code points.
    codes: NDArray[np.integer]
    #: (n,) the ``Kind`` of each.
    kinds: NDArray[np.uint8]

    @property
    def unclear(self) -> NDArray[np.intp]:
        """(k,) where those stand, ascending, for which ``WordFinder.find`` cannot be asked."""
        return np.flatnonzero(self.kinds == Kind.UNCLEAR)


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """The m words of a text."""

    #: Each word as the vocabulary spells it.
    spellings: list[str]
    #: (m,) index in ``places`` of each word's first character.
    first: NDArray[np.intp]
    #: (n,) character of the text from which each character of the spellings comes, one word after the other.
    places: NDArray[np.intp]


class WordFinder:
    """Finds words as the tokeniser's normaliser and pre-tokeniser do. Safe to call from several threads."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._kind = np.zeros(CODE_POINTS, np.uint8)
        self._normal = np.zeros(CODE_POINTS, np.uint32)

    def read(self, text: str) -> Characters:
        """The text's characters, each with its kind."""
        codes = _codes(text)
        kinds: NDArray[np.uint8] = self._kind[codes]
        if not kinds.all():
            for code in np.unique(codes[kinds == Kind.UNSEEN]).tolist():
                self._learn(code)
            kinds = self._kind[codes]
        return Characters(codes=codes, kinds=kinds)

    def find(self, characters: Characters) -> Words:
        """The words of a text, none of whose characters is unclear."""
        kept = np.flatnonzero(characters.kinds != Kind.DROPPED)
        kinds = characters.kinds[kept]
        letter = kinds == Kind.LETTER
        begins = kinds == Kind.ALONE
        shown = np.flatnonzero(letter | begins)
        begins[:1] |= letter[:1]
        begins[1:] |= letter[1:] & ~letter[:-1]
        places, begins = kept[shown], begins[shown]
        normal = self._normal[characters.codes[places]]
        return Words(spellings=_spaced(normal, begins), first=np.flatnonzero(begins), places=places)

    def _learn(self, code: int) -> None:
        kind, normal = self._ask(LocalTokeniser.encodable(chr(code)))
        self._normal[code] = ord(normal)
        self._kind[code] = kind  # last: another thread may be reading

    def _ask(self, character: str) -> tuple[Kind, str]:
        """What becomes of a character between two letters."""
        normalised = self._tokenizer.normalizer.normalize_str(f"a{character}a")
        match [word for word, _ in self._tokenizer.pre_tokenizer.pre_tokenize_str(normalised)]:
            case ["aa"]:
                return Kind.DROPPED, " "
            case ["a", "a"]:
                return Kind.SPACE, " "
            case ["a", alone, "a"] if len(alone) == 1:
                return Kind.ALONE, alone
            # Normalisation sorts the marks it keeps by their class.
            case [whole] if len(whole) == 3 and not unicodedata.combining(whole[1]):
                return Kind.LETTER, whole[1]
        return Kind.UNCLEAR, " "


def _codes(text: str) -> NDArray[np.integer]:
    """(n,) code points."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _spaced(normal: NDArray[np.uint32], begins: NDArray[np.bool_]) -> list[str]:
    """The words as strings, from their characters and where each begins."""
    if not len(normal):
        return []
    slots = np.arange(len(normal)) + np.cumsum(begins) - 1
    ascii_only = normal.max() < 128
    spaced = np.full(slots[-1] + 1, SPACE, np.uint8 if ascii_only else np.uint32)
    spaced[slots] = normal
    return spaced.tobytes().decode("ascii" if ascii_only else "utf-32-le").split(" ")
