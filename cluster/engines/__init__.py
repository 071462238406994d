"""Text to vectors: models on local weights, behind one contract.

engine = open_engine(settings)           # loads the weights
tokeniser = open_tokeniser(settings)     # does not
fingerprint = describe(settings)         # reads the folder only
"""

import os

import structlog

from cluster.engines.contract import Embeddings, Engine, Fingerprint, Reranker, Scored, Tokeniser, Tokens
from cluster.engines.weights import open_model_folder
from cluster.settings import Settings

__all__ = [
    "Embeddings",
    "Engine",
    "Fingerprint",
    "Reranker",
    "Scored",
    "Tokeniser",
    "Tokens",
    "describe",
    "open_engine",
    "open_reranker",
    "open_tokeniser",
]

log = structlog.get_logger(__name__)


def open_engine(settings: Settings) -> Engine:
    """The settings' model, ready to embed: on our own packed forward, or on sentence-transformers where that cannot run it.

    Raises:
        Misconfigured: the model's folder is missing, incomplete or not the one expected; or 8 bits are asked for without leave.
    """
    # Read by OpenMP when torch loads: threads that wait must not burn the core another replica needs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    from cluster.engines.bert.forward import supports  # noqa: PLC0415  torch: 1.6 s
    from cluster.engines.local import LocalEngine  # noqa: PLC0415

    folder = open_model_folder(settings)
    reason = supports(folder)
    if reason is None:
        if settings.precision == "int8":
            from cluster.engines.bert.int8_gate import require  # noqa: PLC0415

            require(folder, settings)
        log.info("engine_opened", path="packed forward", model=settings.model)
        engine: Engine = LocalEngine(folder, settings)
        return engine
    from cluster.engines.reference import ReferenceEngine  # noqa: PLC0415  sentence-transformers: 6 s

    log.warning("engine_opened", path="sentence-transformers", model=settings.model, because=reason)
    return ReferenceEngine(folder, settings)


def open_tokeniser(settings: Settings) -> Tokeniser:
    """The tokeniser of the settings' model, for bulk work in a process of its own; loads no weights.

    Behind a cache of words where the vocabulary allows one. An engine's own ``tokeniser`` has none: the cache holds Python's lock.
    """
    from cluster.engines.tokens.tokeniser import LocalTokeniser  # noqa: PLC0415
    from cluster.engines.tokens.word_cache import WordCachedTokeniser, unsuitable  # noqa: PLC0415

    folder = open_model_folder(settings)
    reason = unsuitable(folder)
    if reason is None:
        log.debug("tokeniser_opened", path="word cache", model=settings.model)
        return WordCachedTokeniser(folder)
    log.info("tokeniser_opened", path="plain", model=settings.model, because=reason)
    return LocalTokeniser(folder)


def open_reranker(settings: Settings) -> Reranker | None:
    """The settings' cross-encoder; None when there is none.

    Raises:
        Misconfigured: the model gives more than one number for a pair.
    """
    if settings.reranker_path is None:
        return None
    from cluster.engines.cross_encoder import CrossEncoderReranker  # noqa: PLC0415  sentence-transformers: 6 s

    return CrossEncoderReranker(settings.reranker_path, settings)


def describe(settings: Settings) -> Fingerprint:
    """Fingerprint of the settings' model, without loading it; its precision is the one asked for."""
    return open_model_folder(settings).fingerprint(settings.model, settings.precision)
