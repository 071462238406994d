"""A cache of words in front of a BERT vocabulary's tokeniser: the same ids and offsets, several times as fast.

Called by whoever tokenises in bulk in a process of its own, by way of ``open_tokeniser``. Unlike the tokeniser in Rust
it holds Python's lock while it works, so a process that must answer meanwhile keeps to ``LocalTokeniser``.

    tokeniser = WordCachedTokeniser(folder) if unsuitable(folder) is None else LocalTokeniser(folder)

BERT never looks across white space: what a text gives is what its words give, one after the other. Each word is
looked up as it stands in the text, punctuation and capitals and all. A word seen for the first time is put together
from the tokeniser's own answers for each of its characters and from the vocabulary; see docs/decisions/008-word-cache.md.
"""

import json
import re
import threading
import unicodedata
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tokenizers
from numpy.typing import NDArray

from cluster.engines.contract import Tokens
from cluster.engines.tokeniser import LocalTokeniser
from cluster.engines.weights import ModelFolder

#: Words of one of the two generations: together about 25 MB of prose, and never more than 90 MB.
MAX_WORDS = 65_536
#: Characters of the longest word that is kept; longer ones are links, tables of figures, or no words.
MAX_WORD_CHARACTERS = 32
#: Python knows no white space beyond the ideographic space.
LAST_WHITE_SPACE = 0x3000
#: Stands for a character whose effect depends on its neighbours; it is none that a tokeniser keeps.
ASK = "\0"
#: Numbers of a token in a record: its id and the characters [start, end) of its word.
FIELDS = 3


def unsuitable(folder: ModelFolder) -> str | None:
    """Why the folder's tokeniser cannot be answered word by word; None when it can.

    Raises:
        OSError: there is no tokenizer.json.
    """
    described = json.loads((folder.path / "tokenizer.json").read_text(encoding="utf-8"))
    for part, needed in (("model", "WordPiece"), ("normalizer", "BertNormalizer"), ("pre_tokenizer", "BertPreTokenizer")):
        found = (described[part] or {}).get("type")
        if found != needed:
            return f"its {part} is {found}, not {needed}"
    for token in described["added_tokens"]:
        if token["normalized"] or token["lstrip"] or token["rstrip"] or token["single_word"] or re.search(r"\s", token["content"]):
            return f"its added token {token['content']!r} may reach across words"
    return None


class WordCachedTokeniser(LocalTokeniser):
    """``LocalTokeniser`` for vocabularies that are not ``unsuitable``. Safe to call from several threads."""

    def __init__(self, folder: ModelFolder) -> None:
        super().__init__(folder)
        self._spell = _Speller(self._tokenizer)
        self._white_space = _WhiteSpace(self._tokenizer)
        self._lock = threading.Lock()
        self._words = _Words(self._spell, {})

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        """Ids and character offsets of each text, complete."""
        return [self._tokens(text) for text in texts]

    def ids(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Ids alone, which is faster."""
        return [_rows(self._records(text))[:, 0].copy() for text in texts]

    def _tokens(self, text: str) -> Tokens:
        records = self._records(text)
        rows = _rows(records)
        tokens_of_each = np.fromiter(map(len, records), np.intp, len(records)) // (FIELDS * rows.itemsize)
        starts = np.repeat(self._white_space.word_starts(text), tokens_of_each)
        return Tokens(ids=rows[:, 0].copy(), offsets=rows[:, 1:] + starts[:, None])

    def _records(self, text: str) -> list[bytes]:
        """What each word of the text gives."""
        words = self._words
        if words.full:
            with self._lock:
                if self._words is words:
                    self._words = _Words(self._spell, words)
                    words.forget()
            words = self._words
        return list(map(words.__getitem__, self._white_space.split(text)))


def _rows(records: Sequence[bytes]) -> NDArray[np.int32]:
    """(n, 3) int32: id, start, end of each token."""
    return np.frombuffer(b"".join(records), np.int32).reshape(-1, FIELDS)


class _Words(dict[str, bytes]):
    """Word to record. What is asked for and not there is taken from the generation before, or spelt.

    When it is full, its owner makes it the generation before of a new one, so that words in use are carried along and
    the others are forgotten, at no cost to a look-up that succeeds.
    """

    def __init__(self, spell: Callable[[str], bytes], before: Mapping[str, bytes]) -> None:
        super().__init__()
        self._spell = spell
        self._before = before

    def __missing__(self, word: str) -> bytes:
        record = self._before.get(word)
        if record is None:
            record = self._spell(word)
        if len(word) <= MAX_WORD_CHARACTERS and not self.full:
            self[word] = record
        return record

    @property
    def full(self) -> bool:
        """True when it keeps no more words."""
        return len(self) >= MAX_WORDS

    def forget(self) -> None:
        """Let go of the generation before."""
        self._before = {}


class _WhiteSpace:
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


class _Speller:
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
        normal = word.translate(self._characters)
        if ASK in normal or self._added.search(word):
            return self._ask(word)
        # Character of the word that each character of the pieces comes from.
        origin: Sequence[int] = range(len(word))
        if not self._characters.uneven.isdisjoint(word):
            origin = [at for at, character in enumerate(word) for _ in self._characters[ord(character)].strip()]
        rows, first = array("i"), 0
        for piece in normal.split():
            for id, length in self._tokens(piece):
                rows.extend((id, origin[first], origin[first + length - 1] + 1))
                first += length
        return rows.tobytes()

    def _tokens(self, piece: str) -> Iterator[tuple[int, int]]:
        """Id of each token and how many characters it takes of the piece, which they share out."""
        whole = self._vocabulary.get(piece)
        if whole is not None:
            yield whole, len(piece)
            return
        utf8 = piece.encode("utf-8")
        for token in self._model.tokenize(piece):
            start, end = token.offsets
            yield token.id, len(utf8[start:end].decode("utf-8"))

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
                # Normalisation sorts marks that it keeps, by their class and not one by one.
                return ASK if any(map(unicodedata.combining, normal)) else normal
            case ["a", alone, "a"]:
                return f" {alone} "
        return ASK


def _seen(tokenizer: tokenizers.Tokenizer, character: str) -> list[str]:
    """What the tokeniser takes for words when the character stands between two letters."""
    return [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(f"a{character}a"))]
