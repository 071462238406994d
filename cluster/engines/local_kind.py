"""The kind ``local``: models on weights in a folder, computed in this process.

One row of ``registry.KINDS``. torch and sentence-transformers are imported when an engine opens, not before.
"""

import os

import structlog

from cluster.engines.contract import Engine, Fingerprint, ModelEntry, Tokeniser
from cluster.engines.weights import open_model_folder

log = structlog.get_logger(__name__)


class LocalKind:
    """``EngineKind`` on a folder in the layout of sentence-transformers, or on the packaged model."""

    def describe(self, entry: ModelEntry) -> Fingerprint:
        """Fingerprint of the folder's model; reads its configuration and the hash of its weights."""
        return open_model_folder(entry).fingerprint(entry.settings.precision)

    def open_tokeniser(self, entry: ModelEntry) -> Tokeniser:
        """The folder's tokeniser, behind a cache of words where its vocabulary allows one.

        An engine's own ``tokeniser`` has no such cache, because the cache holds Python's lock.
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
        """The model on our own packed forward, or on sentence-transformers where that forward cannot run it.

        Raises:
            Misconfigured: the folder is missing, incomplete or not the one expected; or int8 is set and not
                allowed.
        """
        # OpenMP reads these when torch loads: threads that wait must not burn the core that another replica
        # needs.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("GOMP_SPINCOUNT", "0")
        from cluster.engines.bert.forward import supports  # noqa: PLC0415  torch: 1.6 s
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
        from cluster.engines.reference import ReferenceEngine  # noqa: PLC0415  sentence-transformers: 6 s

        log.warning("engine_opened", path="sentence-transformers", model=entry.name, because=reason)
        return ReferenceEngine(folder, entry.settings)
