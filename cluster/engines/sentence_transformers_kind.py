"""The engine kind ``sentence-transformers``: a folder whose model always runs on sentence-transformers.

``SentenceTransformersKind`` is one row of ``registry.KINDS``. The kind ``local`` uses sentence-transformers
only for models that our own forward pass cannot run. This kind uses it for every model, which is slower.

    CLUSTER_MODELS={"gte": "sentence-transformers:/models/gte-modernbert-base"}
"""

import structlog

from cluster.engines.contract import Engine, ModelEntry
from cluster.engines.local_kind import LocalKind
from cluster.engines.weights import open_model_folder

log = structlog.get_logger(__name__)


class SentenceTransformersKind(LocalKind):
    """Implements ``EngineKind`` for folders in the layout of sentence-transformers.

    Code in the folder is never run.
    """

    def open_engine(self, entry: ModelEntry) -> Engine:
        """Open the model on sentence-transformers, in float32.

        Raises:
            Misconfigured: the folder is missing or incomplete, the hash of its weights is not the expected
                hash, or the model needs code from its folder.
        """
        # Importing sentence-transformers takes 6 s, so it is imported only to open an engine.
        from cluster.engines.reference import ReferenceEngine  # noqa: PLC0415

        folder = open_model_folder(entry)
        log.info("engine_opened", path="sentence-transformers", model=entry.name)
        return ReferenceEngine(folder, entry.settings)
