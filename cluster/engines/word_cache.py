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
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cluster.engines.bert_words import FIELDS, Speller, WhiteSpace
from cluster.engines.contract import Tokens
from cluster.engines.tokeniser import LocalTokeniser
from cluster.engines.weights import ModelFolder

#: Words of one of the two generations: together about 25 MB of prose, and never more than 90 MB.
MAX_WORDS = 65_536
#: Characters of the longest word that is kept; longer ones are links, tables of figures, or no words.
MAX_WORD_CHARACTERS = 32


def unsuitable(folder: ModelFolder) -> str | None:
    """Why the folder's tokeniser cannot be answered word by word; None when it can."""
    file = folder.path / "tokenizer.json"
    if not file.is_file():
        return "it has no tokenizer.json"
    described = json.loads(file.read_text(encoding="utf-8"))
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

    def __init__(self, folder: ModelFolder, *, max_words: int = MAX_WORDS) -> None:
        super().__init__(folder)
        self._spell = Speller(self._tokenizer)
        self._white_space = WhiteSpace(self._tokenizer)
        self._max_words = max_words
        self._lock = threading.Lock()
        self._words = _Words(self._spell, most=max_words)

    @property
    def words_kept(self) -> int:
        """Words of both generations, at most twice ``max_words``."""
        return len(self._words) + len(self._words.before)

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
                    self._words = _Words(self._spell, most=self._max_words, before=words)
                    words.before = {}
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

    def __init__(self, spell: Callable[[str], bytes], *, most: int, before: Mapping[str, bytes] | None = None) -> None:
        super().__init__()
        self._spell = spell
        self._most = most
        #: The generation before; it has none itself.
        self.before: Mapping[str, bytes] = before if before is not None else {}

    def __missing__(self, word: str) -> bytes:
        record = self.before.get(word)
        if record is None:
            record = self._spell(word)
        if len(word) <= MAX_WORD_CHARACTERS and not self.full:
            self[word] = record
        return record

    @property
    def full(self) -> bool:
        """True when it keeps no more words."""
        return len(self) >= self._most
