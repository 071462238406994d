"""The table of chunkers.

    chunker_for({"type": "auto"}).name                                     # "content-defined"
    chunker_for({"type": "static", "static": {"chunk_overlap_tokens": 50, ...}}).name          # "fixed"
    find_chunker("content-defined").open(tokeniser, fingerprint.id, max_tokens=256)

To add a chunker, write its file in this folder (``contract.py`` has the contract) and add a row here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.documents.vector_stores.chunking import overlap_of
from cluster.errors import InvalidInput
from data_jobs.stages.chunkers.content_defined import ContentDefinedChunker
from data_jobs.stages.chunkers.contract import OpenChunker
from data_jobs.stages.chunkers.fixed import FixedChunker
from data_jobs.stages.chunkers.headings import HeadingChunker
from data_jobs.stages.chunkers.semantic import SemanticChunker
from data_jobs.stages.chunkers.whole_pages import WholePageChunker


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkerEntry:
    """A chunker, and the strategies that choose it."""

    name: str
    #: Types of a store's or a file's ``chunking_strategy`` that choose this chunker. OpenAI's ``static``
    #: gives the size of chunks in ``max_tokens``.
    strategy_types: tuple[str, ...]
    #: True if only a strategy with an overlap chooses this chunker.
    overlaps: bool = False
    #: True if the chunker needs vectors of parts of the document; see ``PreparedChunks``.
    needs_vectors: bool = False
    #: Part of the pipeline version, so no two chunkers may have the same version. If the code changes so that
    #: the same text gives other chunks, raise the version by hand.
    version: str
    open: OpenChunker

    @property
    def strategy(self) -> dict[str, Any]:
        """A ``chunking_strategy`` that chooses this chunker."""
        if self.overlaps:
            return {"type": "static", "static": dict(DEFAULT_SIZES)}
        return {"type": self.strategy_types[0]}


#: OpenAI's default sizes of ``static``. The model's limit also applies.
DEFAULT_SIZES = {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}
#: The first row is the default.
CHUNKERS = (
    ChunkerEntry(
        name="content-defined",
        strategy_types=("auto", "static"),
        version="2",
        open=ContentDefinedChunker,
    ),
    ChunkerEntry(name="headings", strategy_types=("headings",), version="headings-1", open=HeadingChunker),
    ChunkerEntry(
        name="fixed", strategy_types=("static",), overlaps=True, version="fixed-1", open=FixedChunker
    ),
    ChunkerEntry(
        name="semantic",
        strategy_types=("semantic",),
        needs_vectors=True,
        version="semantic-1",
        open=SemanticChunker,
    ),
    ChunkerEntry(name="none", strategy_types=("none",), version="none-1", open=WholePageChunker),
)
DEFAULT_CHUNKER = CHUNKERS[0].name


def find_chunker(name: str) -> ChunkerEntry:
    """Return the chunker with this name.

    Raises:
        InvalidInput: the table has no such chunker.
    """
    for entry in CHUNKERS:
        if entry.name == name:
            return entry
    known = ", ".join(entry.name for entry in CHUNKERS)
    raise InvalidInput(f"there is no chunker {name!r}; choose one of {known}")


def chunker_for(strategy: Mapping[str, Any] | None) -> ChunkerEntry:
    """Return the chunker that a ``chunking_strategy`` chooses; None chooses the default.

    Raises:
        InvalidInput: the table has no chunker for the type of the strategy.
    """
    if strategy is None:
        return CHUNKERS[0]
    overlaps = overlap_of(strategy) > 0
    for entry in CHUNKERS:
        if strategy["type"] in entry.strategy_types and (entry.overlaps == overlaps):
            return entry
    known = ", ".join(dict.fromkeys(type for entry in CHUNKERS for type in entry.strategy_types))
    raise InvalidInput(f"no chunker serves the chunking_strategy {strategy['type']!r}; choose one of {known}")
