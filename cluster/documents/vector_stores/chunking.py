"""Compute the chunk length of an attached file from OpenAI's ``chunking_strategy`` and the model's input
length.

The worker divides the file into chunks of this length, and the routes show the length.

    strategy = attached.chunking_strategy or store.chunking_strategy
    Chunking.used(strategy, most=engine.tokeniser.max_content_tokens)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

#: For a model that reads at most this many tokens, a chunk is by default as long as the model can read.
LONGEST_WHOLE_CHUNK = 2_048
#: Default number of tokens of a chunk for a model that reads more than ``LONGEST_WHOLE_CHUNK`` tokens. A
#: longer chunk is about many subjects, and one vector cannot be near to all of them.
CHUNK_TOKENS_OF_LONG_MODELS = 512


def auto_chunk_tokens(most: int) -> int:
    """Return the default chunk length in tokens for a model that reads at most ``most`` tokens."""
    return most if most <= LONGEST_WHOLE_CHUNK else CHUNK_TOKENS_OF_LONG_MODELS


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunking:
    """The chunk length that is used for a file."""

    #: Maximum number of tokens of a chunk, without special tokens.
    max_tokens: int
    #: Number of tokens that neighbouring chunks share. Only the strategy ``static`` can ask for an overlap.
    overlap_tokens: int = 0

    @classmethod
    def used(cls, strategy: Mapping[str, Any] | None, *, most: int) -> Self:
        """Return the chunking for a strategy.

        Args:
            strategy: OpenAI's ``chunking_strategy``; None means auto: see ``auto_chunk_tokens``.
            most: maximum number of tokens that the model reads, without special tokens. The model would
                ignore the end of a longer chunk, so no chunk is longer. The overlap is at most half of the
                chunk length.
        """
        type = "auto" if strategy is None else strategy["type"]
        max_tokens = auto_chunk_tokens(most)
        if strategy is not None and type == "static":
            max_tokens = min(most, int(strategy["static"]["max_chunk_size_tokens"]))
        elif type == "none":
            max_tokens = most
        return cls(max_tokens=max_tokens, overlap_tokens=min(overlap_of(strategy), max_tokens // 2))


def overlap_of(strategy: Mapping[str, Any] | None) -> int:
    """Return the overlap in tokens that a strategy asks for."""
    if strategy is None or strategy["type"] != "static":
        return 0
    return int(strategy.get("static", {}).get("chunk_overlap_tokens", 0))
