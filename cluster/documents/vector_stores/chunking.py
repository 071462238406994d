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
    #: Number of tokens that neighbouring chunks share. This is always 0, because the content decides where
    #: chunks end (docs/decisions/004-content-defined-chunks.md).
    overlap_tokens: int = 0

    @classmethod
    def used(cls, strategy: Mapping[str, Any] | None, *, most: int) -> Self:
        """Return the chunking for a strategy.

        Args:
            strategy: OpenAI's ``chunking_strategy``; None means auto: see ``auto_chunk_tokens``.
            most: maximum number of tokens that the model reads, without special tokens. The model would
                ignore the end of a longer chunk.
        """
        max_tokens = (
            auto_chunk_tokens(most)
            if strategy is None or strategy["type"] == "auto"
            else int(strategy["static"]["max_chunk_size_tokens"])
        )
        return cls(max_tokens=min(max_tokens, most))
