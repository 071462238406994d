"""Tokenise with a cache of words: the same ids and offsets as a BERT tokeniser, several times as fast.

``open_tokeniser`` opens this tokeniser for bulk work in a separate process. Unlike the tokeniser in Rust,
this tokeniser holds Python's lock while it works. So a process that also answers requests uses
``LocalTokeniser``.

    tokeniser = WordCachedTokeniser(folder) if unsuitable(folder) is None else LocalTokeniser(folder)

A BERT tokeniser first cuts a text into words, and then cuts each word into tokens independently of the other
words. Here numpy finds the words (``bert_words``), and a dictionary holds the tokens of each word. If a word
is not in the dictionary, the real model tokenises the word. If a text has a special token, or a character
that ``bert_words`` cannot handle, the real tokeniser tokenises the whole text. See
docs/decisions/008-word-cache.md.
"""

import json
import threading
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cluster.engines.contract import Tokens
from cluster.engines.tokens.bert_words import Characters, NormalisedWords, WordFinder
from cluster.engines.tokens.tokeniser import LocalTokeniser
from cluster.engines.weights import ModelFolder

#: Maximum number of words in each of the two generations of the cache. Both generations together take about
#: 35 MB for prose, and never more than 100 MB.
MAX_WORDS = 65_536
#: Maximum number of characters of a cached word. Longer words are rarely real words.
MAX_WORD_CHARACTERS = 32
#: Maximum number of characters of texts that are processed together. With fewer characters, the cost of the
#: calls would matter; with more, the texts would not stay in the processor's cache.
GROUP_CHARACTERS = 32_768
#: Count of int32 numbers per token in a record: the id, then the start and the end (exclusive) in the word.
FIELDS = 3
ROW_BYTES = FIELDS * 4

Answer = TypeVar("Answer")


def unsuitable(folder: ModelFolder) -> str | None:
    """Return the reason why the folder's tokeniser cannot work word by word; None if there is no reason."""
    file = folder.path / "tokenizer.json"
    if not file.is_file():
        return "it has no tokenizer.json"
    described = json.loads(file.read_text(encoding="utf-8"))
    for part, needed in (
        ("model", "WordPiece"),
        ("normalizer", "BertNormalizer"),
        ("pre_tokenizer", "BertPreTokenizer"),
    ):
        found = (described[part] or {}).get("type")
        if found != needed:
            return f"its {part} is {found}, not {needed}"
    for token in described["added_tokens"]:
        if token["normalized"]:
            return f"its added token {token['content']!r} is matched after normalising"
    return None


class WordCachedTokeniser(LocalTokeniser):
    """``LocalTokeniser`` for folders that are not ``unsuitable``. Safe to call from several threads."""

    def __init__(self, folder: ModelFolder, *, max_words: int = MAX_WORDS) -> None:
        super().__init__(folder)
        self._finder = WordFinder(self._tokenizer)
        self._added = [token.content for token in self._tokenizer.get_added_tokens_decoder().values()]
        self._lock = threading.Lock()
        self._max_words = max_words
        self._model = self._tokenizer.model
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=False)
        self._vocabulary = {
            word: id for word, id in vocabulary.items() if len(word) <= self._model.max_input_chars_per_word
        }
        self._known = _Known(self._spell, {}, most=max_words)

    @property
    def words_kept(self) -> int:
        """Number of words in both generations of the cache."""
        return len(self._known) + len(self._known.before)

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the ids and character offsets of each text. Long texts are not cut."""
        return self._in_groups(texts, self._tokens, super().tokenise)

    def ids(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the ids of each text without offsets, which is faster than ``tokenise``."""
        return self._in_groups(texts, self._ids, super().ids)

    def _in_groups(
        self,
        texts: Sequence[str],
        cached: Callable[["_Joined"], list[Answer]],
        real: Callable[[Sequence[str]], list[Answer]],
    ) -> list[Answer]:
        """Process each text with ``cached``, or with ``real`` if the text cannot be tokenised by words."""
        answers: list[Answer] = []
        for group in _groups(texts):
            joined = self._join(group)
            apart = self._apart(joined)
            if not apart:
                answers.extend(cached(joined))
                continue
            alone = iter(real([group[at] for at in sorted(apart)]))
            together = iter(cached(self._join([text for at, text in enumerate(group) if at not in apart])))
            answers.extend(next(alone if at in apart else together) for at in range(len(group)))
        return answers

    def _join(self, texts: Sequence[str]) -> "_Joined":
        text = "\n".join(texts)
        beginnings = np.array([0, *accumulate(len(one) + 1 for one in texts)], np.int32)
        return _Joined(texts=texts, text=text, beginnings=beginnings, characters=self._finder.read(text))

    def _apart(self, joined: "_Joined") -> set[int]:
        """Return the positions of the texts that have a special token or an unclear character."""
        found = set(
            (np.searchsorted(joined.beginnings, joined.characters.unclear, side="right") - 1).tolist()
        )
        for token in self._added:
            if token in joined.text:
                found.update(at for at, text in enumerate(joined.texts) if token in text)
        return found

    def _ids(self, joined: "_Joined") -> list[NDArray[np.int32]]:
        words = self._finder.find(joined.characters)
        records = self._records(words.spellings)
        cuts = joined.cuts(words).tolist()
        return [_rows(records[start:end])[:, 0].copy() for start, end in pairwise(cuts)]

    def _tokens(self, joined: "_Joined") -> list[Tokens]:
        words = self._finder.find(joined.characters)
        records = self._records(words.spellings)
        rows = _rows(records)
        before = np.zeros(len(records) + 1, np.intp)
        np.cumsum(np.fromiter(map(len, records), np.intp, len(records)) // ROW_BYTES, out=before[1:])
        offsets = _offsets(words, rows, np.diff(before))
        cuts = before[joined.cuts(words)].tolist()
        return [
            Tokens(ids=rows[start:end, 0].copy(), offsets=offsets[start:end] - beginning)
            for (start, end), beginning in zip(pairwise(cuts), joined.beginnings[:-1], strict=True)
        ]

    def _records(self, words: Sequence[str]) -> list[bytes]:
        """Look up the record of each word. A record holds the rows of the word's tokens."""
        known = self._known
        if known.full:
            with self._lock:
                if self._known is known:
                    self._known = _Known(self._spell, known, most=self._max_words)
                    known.before = {}
            known = self._known
        return list(map(known.__getitem__, words))

    def _spell(self, word: str) -> bytes:
        """Make the record of a new word. If the word is not a token, the real model cuts the word."""
        whole = self._vocabulary.get(word)
        if whole is not None:
            return array("i", (whole, 0, len(word))).tobytes()
        rows = array("i")
        utf8 = None if word.isascii() else word.encode("utf-8")
        for token in self._model.tokenize(word):
            id, _, (start, end) = token.as_tuple()
            if utf8 is not None:  # convert the model's byte positions to character positions
                start, end = len(utf8[:start].decode("utf-8")), len(utf8[:end].decode("utf-8"))
            rows.extend((id, start, end))
        return rows.tobytes()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Joined:
    """Several texts joined into one, with a line feed between two texts."""

    texts: Sequence[str]
    text: str
    #: (n + 1,) start of each text in ``text``. The last number is where a further text would start.
    beginnings: NDArray[np.int32]
    characters: Characters

    def cuts(self, words: NormalisedWords) -> NDArray[np.intp]:
        """Return the number of words before each text, and the number of all words: (n + 1,)."""
        return np.searchsorted(words.places[words.first], self.beginnings)


class _Known(dict[str, bytes]):
    """One generation of the cache: maps a word to its record.

    If a word is missing, its record is copied from the previous generation, or made with ``spell``. When a
    generation is full, the tokeniser starts a new generation and keeps the full generation as the previous
    one. So words in use are kept and other words are dropped, and a look-up that finds its word costs nothing
    extra.
    """

    def __init__(self, spell: Callable[[str], bytes], before: Mapping[str, bytes], *, most: int) -> None:
        super().__init__()
        self._spell = spell
        self._most = most
        #: The previous generation. Its own ``before`` is empty.
        self.before = before

    def __missing__(self, word: str) -> bytes:
        record = self.before.get(word)
        if record is None:
            record = self._spell(word)
        if len(word) <= MAX_WORD_CHARACTERS and not self.full:
            self[word] = record
        return record

    @property
    def full(self) -> bool:
        """True if this generation accepts no more words."""
        return len(self) >= self._most


def _groups(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Group the texts, in order. A group has at most ``GROUP_CHARACTERS`` characters, or a single text."""
    first, room = 0, GROUP_CHARACTERS
    for at, text in enumerate(texts):
        if len(text) > room and at > first:
            yield texts[first:at]
            first, room = at, GROUP_CHARACTERS
        room -= len(text)
    if first < len(texts):
        yield texts[first:]


def _rows(records: Sequence[bytes]) -> NDArray[np.int32]:
    """Return the id, start and end of each token: (n, 3) int32."""
    return np.frombuffer(b"".join(records), np.int32).reshape(-1, FIELDS)


def _offsets(
    words: NormalisedWords, rows: NDArray[np.int32], tokens_of_each: NDArray[np.intp]
) -> NDArray[np.int32]:
    """Compute the characters [start, end) of each token in the joined texts: (n, 2) int32."""
    first = np.repeat(words.first, tokens_of_each)
    offsets = np.empty((len(rows), 2), np.int32)
    offsets[:, 0] = words.places[first + rows[:, 1]]
    offsets[:, 1] = words.places[first + rows[:, 2] - 1] + 1
    return offsets
