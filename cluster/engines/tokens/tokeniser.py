"""Turn texts into token ids with the model's own tokeniser, which runs in Rust without Python's lock.

open_tokeniser(entry).tokenise(["some text"])[0].ids
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray

from cluster.engines.contract import Tokens
from cluster.engines.weights import ModelFolder
from cluster.errors import Misconfigured

#: Character that replaces a lone surrogate before tokenising, because a lone surrogate has no UTF-8 form.
REPLACEMENT = "�"


class LocalTokeniser:
    """Implements ``Tokeniser`` with the tokenizer.json of a folder. Safe to call from several threads."""

    def __init__(self, folder: ModelFolder) -> None:
        self._tokenizer = _load(folder.path)
        with_special = self._tokenizer.encode("", add_special_tokens=True)
        #: Ids of the special tokens before a text (``prefix``) and after a text (``suffix``).
        self.prefix, self.suffix = _around(self._tokenizer, with_special.ids)
        self.max_content_tokens = folder.max_tokens - len(with_special.ids)
        self.special_tokens = len(with_special.ids)
        self.vocabulary_size = self._tokenizer.get_vocab_size(with_added_tokens=True)
        # A Unigram model does not name its unknown token. In all published Unigram models the token is <unk>.
        self.unknown_id = self._tokenizer.token_to_id(
            getattr(self._tokenizer.model, "unk_token", None) or "<unk>"
        )
        if self.vocabulary_size > int(folder.config["vocab_size"]):
            raise Misconfigured(
                f"{folder.path}: the tokeniser has {self.vocabulary_size} tokens, but the model has "
                f"{folder.config['vocab_size']}; use the tokeniser that belongs to the model"
            )

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the ids and character offsets of each text. Long texts are not cut."""
        encoded = self._tokenizer.encode_batch(
            [without_surrogates(text) for text in texts], add_special_tokens=False
        )
        return [
            Tokens(
                ids=np.array(one.ids, dtype=np.int32),
                offsets=np.array(one.offsets, dtype=np.int32).reshape(-1, 2),
            )
            for one in encoded
        ]

    def ids(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the ids of each text without offsets, which is much faster than ``tokenise``."""
        encoded = self._tokenizer.encode_batch_fast(
            [without_surrogates(text) for text in texts], add_special_tokens=False
        )
        return [np.array(one.ids, dtype=np.int32) for one in encoded]

    def count(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Count the tokens of each whole text, special tokens not included: (n,) int32."""
        return np.array([len(ids) for ids in self.ids(texts)], dtype=np.int32)

    def decode(self, ids: NDArray[np.int32]) -> str:
        """Return a text for these ids, without special tokens.

        Tokenising the text gives these ids again, or similar ids if no text has exactly these ids.
        """
        return str(self._tokenizer.decode(ids.tolist(), skip_special_tokens=True))


def without_surrogates(text: str) -> str:
    """Replace every lone surrogate with one character, because lone surrogates have no UTF-8 form."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "".join(REPLACEMENT if "\ud800" <= character <= "\udfff" else character for character in text)
    return text


def _load(path: Path) -> tokenizers.Tokenizer:
    file = path / "tokenizer.json"
    if not file.is_file():
        raise Misconfigured(f"{file} is missing: save the model with a fast tokenizer")
    tokenizer = tokenizers.Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _around(tokenizer: tokenizers.Tokenizer, empty: list[int]) -> tuple[list[int], list[int]]:
    """Return the special ids before a text, and the special ids after a text.

    Args:
        tokenizer: tokeniser of the model.
        empty: ids of an empty text, which are only the special ids.
    """
    word = tokenizer.encode("a", add_special_tokens=False).ids
    whole = tokenizer.encode("a", add_special_tokens=True).ids
    before = next(at for at in range(len(whole)) if whole[at : at + len(word)] == word)
    return empty[:before], empty[before:]
