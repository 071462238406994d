"""What BERT's tokeniser takes for a word, and what a word that nobody has seen yet gives: its tokens and where they stand.

Called by ``WordCachedTokeniser`` for vocabularies that are not ``unsuitable``.

    WhiteSpace(tokenizer).split("Two words")              # ["Two", "words"]
    Speller(tokenizer)("naïve,")                          # int32 rows as bytes: id, start, end of each token
"""

import re
import unicodedata
from array import array
from collections.abc import Sequence

import numpy as np
import tokenizers
from numpy.typing import NDArray

from cluster.engines.tokeniser import LocalTokeniser

#: Python knows no white space beyond the ideographic space.
LAST_WHITE_SPACE = 0x3000
#: Stands for a character whose effect depends on its neighbours; it is none that a tokeniser keeps.
ASK = "\0"
#: Numbers of a token in a record: its id and the characters [start, end) of its word.
FIELDS = 3


class WhiteSpace:
    """Where Python and the tokeniser both see a border between words.

    Python takes some control characters for white space that the tokeniser drops: a form feed joins the words
    around it. A text that holds one is split by a pattern, every other by ``str.split``, which is far quicker.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        python = [chr(code) for code in range(LAST_WHITE_SPACE + 1) if chr(code).isspace()]
        shared = [character for character in python if _seen(tokenizer, character) == ["a", "a"]]
        self._joining = [character for character in python if character not in shared]
        self._word = re.compile(f"[^{re.escape(''.join(shared))}]+")
        #: By code point; one more for all that lie beyond.
        self._separates = np.zeros(LAST_WHITE_SPACE + 2, np.bool_)
        self._separates[[ord(character) for character in shared]] = True

    def split(self, text: str) -> list[str]:
        """The words of a text."""
        if any(map(text.__contains__, self._joining)):
            return self._word.findall(text)
        return text.split()

    def word_starts(self, text: str) -> NDArray[np.int32]:
        """(n,) int32: character at which each word begins."""
        if text.isascii():
            codes: NDArray[np.integer] = np.frombuffer(text.encode("ascii"), np.uint8)
        else:
            codes = np.minimum(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4"), LAST_WHITE_SPACE + 1)
        inside = ~self._separates[codes]
        inside[1:] &= ~inside[:-1]
        return np.flatnonzero(inside).astype(np.int32)


class Speller:
    """A word's record from the vocabulary and from what the tokeniser makes of each character."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._model = tokenizer.model
        longest = self._model.max_input_chars_per_word
        vocabulary = tokenizer.get_vocab(with_added_tokens=False)
        self._vocabulary = {piece: id for piece, id in vocabulary.items() if len(piece) <= longest}
        self._characters = _Characters(tokenizer)
        added = [re.escape(token.content) for token in tokenizer.get_added_tokens_decoder().values()]
        self._added = re.compile("|".join(added) or "(?!)")

    def __call__(self, word: str) -> bytes:
        """The word's tokens, one row of ``FIELDS`` int32 after the other."""
        normal = word.translate(self._characters)
        if ASK in normal or self._added.search(word):
            return self._ask(word)
        # Character of the word that each character of the pieces comes from.
        origin: Sequence[int] = range(len(word))
        if not self._characters.uneven.isdisjoint(word):
            origin = [at for at, character in enumerate(word) for _ in self._characters[ord(character)].strip()]
        rows, first = array("i"), 0
        for piece in normal.split():
            whole = self._vocabulary.get(piece)
            for id, length in ((whole, len(piece)),) if whole is not None else self._parts(piece):
                rows.extend((id, origin[first], origin[first + length - 1] + 1))
                first += length
        return rows.tobytes()

    def _parts(self, piece: str) -> list[tuple[int, int]]:
        """Id of each token of a piece, and how many of its characters it takes; together they take all."""
        tokens = [token.as_tuple() for token in self._model.tokenize(piece)]
        if piece.isascii():
            return [(id, end - start) for id, _, (start, end) in tokens]
        utf8 = piece.encode("utf-8")
        return [(id, len(utf8[start:end].decode("utf-8"))) for id, _, (start, end) in tokens]

    def _ask(self, word: str) -> bytes:
        encoded = self._tokenizer.encode(LocalTokeniser.encodable(word), add_special_tokens=False)
        rows = array("i")
        for id, (start, end) in zip(encoded.ids, encoded.offsets, strict=True):
            rows.extend((id, start, end))
        return rows.tobytes()


class _Characters(dict[int, str]):
    """Code point to what becomes of it: its normal form, between spaces where it is a word by itself, or ``ASK``.

    Filled by asking the tokeniser about a character when it is first seen, so that no table of Unicode of ours can differ from its own.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        #: Characters that become none or several.
        self.uneven: set[str] = set()

    def __missing__(self, code: int) -> str:
        form = self._form(chr(code))
        if len(form.strip()) != 1:
            self.uneven.add(chr(code))
        self[code] = form
        return form

    def _form(self, character: str) -> str:
        if "\ud800" <= character <= "\udfff":
            return ASK
        pieces = _seen(self._tokenizer, character)
        match pieces:
            case [whole] if whole[0] == whole[-1] == "a" and len(whole) > 1:
                normal = whole[1:-1]
                # Normalisation sorts marks that it keeps by their class; and white space here would part the pieces.
                return ASK if any(unicodedata.combining(kept) or kept.isspace() for kept in normal) else normal
            case ["a", alone, "a"]:
                return f" {alone} "
        return ASK


def _seen(tokenizer: tokenizers.Tokenizer, character: str) -> list[str]:
    """What the tokeniser takes for words when the character stands between two letters."""
    return [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(f"a{character}a"))]
