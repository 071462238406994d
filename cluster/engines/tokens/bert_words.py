"""Split a text into the words that a BERT tokeniser sees, and normalise the words, with numpy.

``WordCachedTokeniser`` calls this module with many texts joined into one.

    finder = WordFinder(tokenizer)
    finder.find(finder.read("Naïve, isn't it")).spellings      # ["naive", ",", "isn", "'", "t", "it"]

When a character first occurs, ``WordFinder`` runs the tokeniser on the character and remembers the result. So
this module needs no Unicode table of its own, which could differ from the table of the tokeniser.
"""

import unicodedata
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import tokenizers
from numpy.typing import NDArray

from cluster.engines.tokens.tokeniser import without_surrogates

CODE_POINTS = 0x110000
SPACE = ord(" ")


class CharacterKind(IntEnum):
    """The effect of a character on the word around it."""

    #: The character has not occurred yet.
    UNSEEN = 0
    #: The character is a part of a word, and its normal form is one character.
    LETTER = 1
    #: The character is a word by itself, such as punctuation or a Chinese character.
    ALONE = 2
    #: The character ends the word before it and is not a part of a word.
    SPACE = 3
    #: The tokeniser removes the character, such as a control character or a separate accent.
    DROPPED = 4
    #: The character becomes several characters, or is a mark that normalisation may move. Only the tokeniser
    #: can handle the character.
    UNCLEAR = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Characters:
    """The n characters of a text."""

    #: (n,) code point of each character.
    codes: NDArray[np.integer]
    #: (n,) ``CharacterKind`` of each character.
    kinds: NDArray[np.uint8]

    @property
    def unclear(self) -> NDArray[np.intp]:
        """(k,) positions, ascending, of the characters that ``WordFinder.find`` cannot handle."""
        return np.flatnonzero(self.kinds == CharacterKind.UNCLEAR)


@dataclass(frozen=True, kw_only=True, slots=True)
class NormalisedWords:
    """The m words of a text."""

    #: Each word in normalised spelling.
    spellings: list[str]
    #: (m,) index of each word's first character in ``places``.
    first: NDArray[np.intp]
    #: (n,) position in the text of each character of all spellings, one word after the other.
    places: NDArray[np.intp]


class WordFinder:
    """Finds the same words as the tokeniser's normaliser and pre-tokeniser do. Safe for several threads."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._kind = np.zeros(CODE_POINTS, np.uint8)
        self._normal = np.zeros(CODE_POINTS, np.uint32)

    def read(self, text: str) -> Characters:
        """Return the characters of the text, each with its kind."""
        codes = _codes(text)
        kinds: NDArray[np.uint8] = self._kind[codes]
        if not kinds.all():
            for code in np.unique(codes[kinds == CharacterKind.UNSEEN]).tolist():
                self._learn(code)
            kinds = self._kind[codes]
        return Characters(codes=codes, kinds=kinds)

    def find(self, characters: Characters) -> NormalisedWords:
        """Find the words of a text. The text must have no unclear characters."""
        kept = np.flatnonzero(characters.kinds != CharacterKind.DROPPED)
        kinds = characters.kinds[kept]
        letter = kinds == CharacterKind.LETTER
        begins = kinds == CharacterKind.ALONE
        shown = np.flatnonzero(letter | begins)
        begins[:1] |= letter[:1]
        begins[1:] |= letter[1:] & ~letter[:-1]
        places, begins = kept[shown], begins[shown]
        normal = self._normal[characters.codes[places]]
        return NormalisedWords(spellings=_spaced(normal, begins), first=np.flatnonzero(begins), places=places)

    def _learn(self, code: int) -> None:
        kind, normal = self._ask(without_surrogates(chr(code)))
        self._normal[code] = ord(normal)
        self._kind[code] = kind  # set last, because other threads read ``_normal`` after a kind is set

    def _ask(self, character: str) -> tuple[CharacterKind, str]:
        """Run the tokeniser on a character between two letters. Return the kind and the normal form."""
        normalised = self._tokenizer.normalizer.normalize_str(f"a{character}a")
        match [word for word, _ in self._tokenizer.pre_tokenizer.pre_tokenize_str(normalised)]:
            case ["aa"]:
                return CharacterKind.DROPPED, " "
            case ["a", "a"]:
                return CharacterKind.SPACE, " "
            case ["a", alone, "a"] if len(alone) == 1:
                return CharacterKind.ALONE, alone
            # Combining marks are unclear, because normalisation sorts neighbouring marks by class.
            case [whole] if len(whole) == 3 and not unicodedata.combining(whole[1]):
                return CharacterKind.LETTER, whole[1]
        return CharacterKind.UNCLEAR, " "


def _codes(text: str) -> NDArray[np.integer]:
    """Return the (n,) code points of the text."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _spaced(normal: NDArray[np.uint32], begins: NDArray[np.bool_]) -> list[str]:
    """Return the words as strings.

    Args:
        normal: normal forms of the characters of all words, in order.
        begins: True for the first character of each word.
    """
    if not len(normal):
        return []
    slots = np.arange(len(normal)) + np.cumsum(begins) - 1
    ascii_only = normal.max() < 128
    spaced = np.full(slots[-1] + 1, SPACE, np.uint8 if ascii_only else np.uint32)
    spaced[slots] = normal
    return spaced.tobytes().decode("ascii" if ascii_only else "utf-32-le").split(" ")
