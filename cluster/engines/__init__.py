"""Engines: text to vectors, one contract for every kind, and a registry of the models by name.

entry = Registry(settings).default
engine = open_engine(entry)           # loads the weights
tokeniser = open_tokeniser(entry)     # does not
fingerprint = describe(entry)         # does not
"""

from cluster.engines.contract import (
    Embeddings,
    Engine,
    Fingerprint,
    ModelEntry,
    Reranker,
    Scored,
    Tokeniser,
    Tokens,
)
from cluster.engines.registry import Registry, describe, open_engine, open_tokeniser
from cluster.settings import Settings

__all__ = [
    "Embeddings",
    "Engine",
    "Fingerprint",
    "ModelEntry",
    "Registry",
    "Reranker",
    "Scored",
    "Tokeniser",
    "Tokens",
    "describe",
    "open_engine",
    "open_reranker",
    "open_tokeniser",
]


def open_reranker(settings: Settings) -> Reranker | None:
    """The cross-encoder of the settings; None when there is none.

    Raises:
        Misconfigured: the model gives more than one number for a pair.
    """
    if settings.reranker_path is None:
        return None
    from cluster.engines.cross_encoder import CrossEncoderReranker  # noqa: PLC0415  sentence-transformers: 6 s

    return CrossEncoderReranker(settings.reranker_path, settings)
