"""The engine kind ``local``: the weights are in a folder, and this process computes the vectors.

``LocalKind`` is one row of ``registry.KINDS``. torch and sentence-transformers are not imported until an
engine opens.
"""

import os

import structlog

from cluster.engines.contract import Engine, Fingerprint, ModelEntry, ModelProperties, Tokeniser
from cluster.engines.weights import open_model_folder
from cluster.settings.models import PLACEMENT

log = structlog.get_logger(__name__)


class LocalKind:
    """Implements ``EngineKind`` for a folder in the layout of sentence-transformers, and for the packaged
    model.
    """

    options = PLACEMENT

    def describe(self, entry: ModelEntry) -> Fingerprint:
        """Return the model's fingerprint, from the folder's configuration and the hash of the weights."""
        return open_model_folder(entry).fingerprint(entry.settings.precision)

    def properties(self, entry: ModelEntry) -> ModelProperties:
        """Return the prompts and dimensions in the folder's configuration."""
        folder = open_model_folder(entry)
        return ModelProperties(prompts=folder.prompts, dimensions=folder.dimensions)

    def open_tokeniser(self, entry: ModelEntry) -> Tokeniser:
        """Open the folder's tokeniser, with a cache of words if the tokeniser works word by word.

        The ``tokeniser`` of an engine has no cache, because a look-up in the cache holds Python's lock.
        """
        from cluster.engines.tokens.tokeniser import LocalTokeniser  # noqa: PLC0415
        from cluster.engines.tokens.word_cache import WordCachedTokeniser, unsuitable  # noqa: PLC0415

        folder = open_model_folder(entry)
        reason = unsuitable(folder)
        if reason is None:
            log.debug("tokeniser_opened", path="word cache", model=entry.name)
            return WordCachedTokeniser(folder)
        log.info("tokeniser_opened", path="plain", model=entry.name, because=reason)
        return LocalTokeniser(folder)

    def open_engine(self, entry: ModelEntry) -> Engine:
        """Open the model on our forward pass if it supports the model, or else on sentence-transformers.

        Raises:
            Misconfigured: the folder is missing or incomplete, the hash of its weights is not the expected
                hash, or int8 is set and not allowed.
        """
        # OpenMP reads these variables when torch loads. With these values, a waiting thread sleeps and does
        # not use a core that another replica needs.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("GOMP_SPINCOUNT", "0")
        # Importing torch takes 1.6 s, so processes that open no engine do not import torch.
        from cluster.engines.bert.forward import supports  # noqa: PLC0415
        from cluster.engines.local import LocalEngine  # noqa: PLC0415

        folder = open_model_folder(entry)
        reason = supports(folder)
        if reason is None:
            if entry.settings.precision == "int8":
                from cluster.engines.int8_gate import require  # noqa: PLC0415

                require(folder, entry.settings)
            log.info("engine_opened", path="packed forward", model=entry.name)
            engine: Engine = LocalEngine(folder, entry.settings)
            return engine
        # Importing sentence-transformers takes 6 s, so it is imported only for models that need it.
        from cluster.engines.reference import ReferenceEngine  # noqa: PLC0415

        log.warning("engine_opened", path="sentence-transformers", model=entry.name, because=reason)
        return ReferenceEngine(folder, entry.settings)
