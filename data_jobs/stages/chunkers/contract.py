"""The contract of a chunker: pages in, chunks out.

The chunks of a document hold every token of it, none has more than ``max_tokens``, each is an exact slice of
one page, and their ids are made from their content.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cluster.engines import Tokeniser
from cluster.records import Page, PageChunk


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkedDocument:
    """The chunks of a document, and how much of its text the model does not know."""

    chunks: list[PageChunk]
    #: Number of tokens that stand for something the vocabulary does not have ([UNK]).
    unknown_tokens: int
    #: Number of characters in these tokens, and of characters without any token; white space is not counted.
    unknown_characters: int
    #: Number of characters of the document; white space is not counted.
    characters: int

    @property
    def unknown_share(self) -> float:
        """Share of the text that the model does not know, in [0, 1]."""
        return self.unknown_characters / max(1, self.characters)


class Chunker(Protocol):
    """Divides documents into chunks. Safe to call from several threads."""

    def chunk(self, document: str, pages: Sequence[Page]) -> ChunkedDocument:
        """The chunks of a document in reading order.

        Args:
            document: id of the document.
            pages: its pages in order.
        """


class OpenChunker(Protocol):
    """Makes a chunker."""

    def __call__(
        self, tokeniser: Tokeniser, fingerprint_id: str, *, max_tokens: int | None = None
    ) -> Chunker:
        """A chunker for one model.

        Args:
            tokeniser: the model's.
            fingerprint_id: the model's, from which the ids of the chunks are made.
            max_tokens: maximum tokens of a chunk, without special tokens; None: as many as the model reads.
        """
