"""How long the chunks of an attached file may be: what was asked for, as OpenAI's clients ask, and what the model can read.

Called by the worker, which cuts by it, and by the routes, which tell it.

    Chunking.used(attached.chunking_strategy or store.chunking_strategy, most=engine.tokeniser.max_content_tokens)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunking:
    """How a file is cut."""

    #: Tokens, special tokens not counted.
    max_tokens: int
    #: Tokens that neighbours share: none, whatever is asked for, since chunks end at boundaries that the content decides
    #: (docs/decisions/004-content-defined-chunks.md).
    overlap_tokens: int = 0

    @classmethod
    def used(cls, strategy: Mapping[str, Any] | None, *, most: int) -> Self:
        """What becomes of a strategy.

        Args:
            strategy: OpenAI's; None is auto: as long as the model reads.
            most: tokens the model reads, special tokens not counted; a longer chunk would not be read to its end.
        """
        asked = (
            most
            if strategy is None or strategy["type"] == "auto"
            else int(strategy["static"]["max_chunk_size_tokens"])
        )
        return cls(max_tokens=min(asked, most))
