"""The table of chunkers.

    chunker_for({"type": "auto"}).name             # "content-defined"
    find_chunker("content-defined").open(tokeniser, fingerprint.id, max_tokens=256)

To add a chunker, write its file in this folder (``contract.py`` has the contract) and add a row here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.errors import InvalidInput
from data_jobs.stages.chunkers.content_defined import ContentDefinedChunker
from data_jobs.stages.chunkers.contract import OpenChunker


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkerEntry:
    """A chunker, and the strategies that choose it."""

    name: str
    #: Types of a store's or a file's ``chunking_strategy`` that choose this chunker. OpenAI's ``static``
    #: gives the size of chunks in ``max_tokens``.
    strategy_types: tuple[str, ...]
    #: Part of the pipeline version, so no two chunkers may have the same version. If the code changes so that
    #: the same text gives other chunks, raise the version by hand.
    version: str
    open: OpenChunker


#: The first row is the default.
CHUNKERS = (
    ChunkerEntry(
        name="content-defined",
        strategy_types=("auto", "static"),
        version="2",
        open=ContentDefinedChunker,
    ),
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
    for entry in CHUNKERS:
        if strategy["type"] in entry.strategy_types:
            return entry
    known = ", ".join(type for entry in CHUNKERS for type in entry.strategy_types)
    raise InvalidInput(f"no chunker serves the chunking_strategy {strategy['type']!r}; choose one of {known}")
