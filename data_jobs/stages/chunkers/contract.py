"""The contract of a chunker, which divides pages into chunks.

The chunks of a document hold every token of the document. No chunk has more than ``max_tokens`` tokens. Each
chunk is an exact slice of one page; a context may come before the slice. The id of a chunk is made from the
content of the chunk.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cluster.engines import Tokeniser
from cluster.records import Page, PageChunk


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkedDocument:
    """The chunks of a document, and counts of the text that the model does not know."""

    chunks: list[PageChunk]
    #: Number of tokens for text that is not in the vocabulary ([UNK]).
    unknown_tokens: int
    #: Number of characters in unknown tokens or without any token; white space is not counted.
    unknown_characters: int
    #: Number of characters of the document; white space is not counted.
    characters: int

    @property
    def unknown_share(self) -> float:
        """Share of the text that the model does not know, in [0, 1]."""
        return self.unknown_characters / max(1, self.characters)


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedChunks:
    """A document whose chunks depend on the vectors of its parts, or on no vectors."""

    #: The token ids of n parts of the document, special tokens not included; empty if the chunker needs no
    #: vectors.
    inputs: list[NDArray[np.int32]]
    #: Makes the chunks from the vectors of the parts; the vectors are an array (n, dim) of float32.
    finish: Callable[[NDArray[np.float32]], ChunkedDocument]


class Chunker(Protocol):
    """Divides documents into chunks. Safe to call from several threads."""

    def prepared(self, document: str, pages: Sequence[Page]) -> PreparedChunks:
        """Prepare the chunks of a document, in reading order.

        Args:
            document: id of the document.
            pages: the pages of the document in order.
        """


class OpenChunker(Protocol):
    """A function or a class that makes a chunker."""

    def __call__(
        self,
        tokeniser: Tokeniser,
        fingerprint_id: str,
        *,
        max_tokens: int | None = None,
        overlap_tokens: int = 0,
    ) -> Chunker:
        """Make a chunker for one model.

        Args:
            tokeniser: the tokeniser of the model.
            fingerprint_id: id of the model's fingerprint; the ids of the chunks depend on this id.
            max_tokens: maximum number of tokens of a chunk, without special tokens; None means the limit of
                the model.
            overlap_tokens: number of tokens that neighbouring chunks share; only the chunker ``fixed`` uses
                this number.
        """
