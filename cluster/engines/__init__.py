"""Engines turn text into vectors. All kinds of engine have one contract; ``Registry`` finds models by name.

entry = Registry(settings).default
engine = open_engine(entry)           # loads the weights
tokeniser = open_tokeniser(entry)     # does not load the weights
fingerprint = describe(entry)         # does not load the weights
"""

from cluster.engines.contract import (
    Embeddings,
    Engine,
    Fingerprint,
    ModelEntry,
    ModelProperties,
    Reranker,
    Scored,
    Tokeniser,
    Tokens,
)
from cluster.engines.provider_contract import ProviderEngine, RequestLimits
from cluster.engines.registry import Registry, describe, open_engine, open_tokeniser, properties
from cluster.settings import Settings

__all__ = [
    "Embeddings",
    "Engine",
    "Fingerprint",
    "ModelEntry",
    "ModelProperties",
    "ProviderEngine",
    "Registry",
    "RequestLimits",
    "Reranker",
    "Scored",
    "Tokeniser",
    "Tokens",
    "describe",
    "open_engine",
    "open_reranker",
    "open_tokeniser",
    "properties",
]


def open_reranker(settings: Settings) -> Reranker | None:
    """Open the cross-encoder that the settings name. Return None if the settings name none.

    Raises:
        Misconfigured: the model does not give exactly one number for a pair of texts.
    """
    if settings.reranker_path is None:
        return None
    # Importing sentence-transformers takes 6 s, so it is imported only if the settings name a reranker.
    from cluster.engines.cross_encoder import CrossEncoderReranker  # noqa: PLC0415

    return CrossEncoderReranker(settings.reranker_path, settings)
