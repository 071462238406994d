"""The chat models with which agents answer, and with which questions are rewritten."""

from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from cluster.described_model import DescribedModel
from cluster.settings.values import AbsolutePath, Concern, KeyVariable, ProviderUrl, Table


class ChatModelSetting(DescribedModel):
    """A chat model in ``CLUSTER_CHAT_MODELS``: the server, the model's name there, and the limits."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    model: str = Field(min_length=1)
    """Name of the model at the server."""

    base_url: ProviderUrl | None = None
    """URL of a server with OpenAI's API, up to and including ``/v1``. Unset: the URL of OpenAI."""

    key_env: KeyVariable | None = None
    """Name of the environment variable that holds the server's key. Unset: the server needs no key."""

    context_tokens: int = Field(ge=512)
    """Maximum number of tokens of a prompt and its answer together, as the server is configured. A server
    such as Ollama silently drops the beginning of a longer prompt."""

    max_output_tokens: int = Field(default=1_024, ge=1)
    """Maximum number of tokens of an answer, if a request names no smaller number."""

    price_per_million_input_tokens: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Price of a million tokens of prompts, in US dollars, from which the cost of usage is computed."""

    price_per_million_output_tokens: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Price of a million tokens of answers, in US dollars, from which the cost of usage is computed."""

    tokenizer_path: AbsolutePath | None = None
    """Folder with the model's ``tokenizer.json``, which counts the tokens of prompts. Unset: tokens are
    counted with OpenAI's vocabulary cl100k."""

    fallback: str | None = None
    """Name of another chat model of this table. It answers if this model fails before its first token."""

    first_token_timeout_s: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    """Maximum seconds until the first token of an answer. After this time, the fallback answers."""

    @model_validator(mode="after")
    def _answer_leaves_room_for_a_prompt(self) -> Self:
        if self.max_output_tokens * 2 > self.context_tokens:
            raise ValueError(
                f"max_output_tokens={self.max_output_tokens} is more than half of "
                f"context_tokens={self.context_tokens}, which leaves too little room for prompts"
            )
        return self


def _fallbacks_exist(models: dict[str, ChatModelSetting]) -> dict[str, ChatModelSetting]:
    for name, setting in models.items():
        if setting.fallback == name:
            raise ValueError(f"{name} names itself as its fallback; name another chat model")
        if setting.fallback is not None and setting.fallback not in models:
            raise ValueError(
                f"{name} has the fallback {setting.fallback}, which is not in the table; "
                f"the table has {', '.join(models)}"
            )
    return models


class ChatSettings(Concern):
    """The chat models with which agents answer. Without a chat model, agents answer with passages."""

    chat_models: Annotated[
        dict[str, ChatModelSetting], AfterValidator(_fallbacks_exist), AfterValidator(Table)
    ] = Table()
    """Chat models, as JSON: name to an object with ``model``, ``context_tokens`` and the options of the page
    about chat models. Empty: there is no chat model, and agents answer with passages from their documents."""

    chat_model: str | None = None
    """Name of the chat model of agents that name none. Unset: the first chat model of the table."""

    context_similarity: float = Field(default=0.97, ge=0.5, le=1)
    """Least cosine similarity of two questions that count as the same: of a live question and a question
    whose sources were computed before, and of the questions of one cluster (``precompute_contexts``)."""

    @model_validator(mode="after")
    def _default_chat_model_exists(self) -> Self:
        if self.chat_model is not None and self.chat_model not in self.chat_models:
            raise ValueError(
                f"CLUSTER_CHAT_MODEL={self.chat_model} is not in CLUSTER_CHAT_MODELS, "
                f"which has {', '.join(self.chat_models) or 'no model'}"
            )
        return self
