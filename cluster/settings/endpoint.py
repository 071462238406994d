"""Limits and defaults of the HTTP endpoint."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from cluster.settings.values import MIB, AbsolutePath, Concern, Table


class EndpointSettings(Concern):
    """Limits and defaults of the HTTP endpoint."""

    max_request_bytes: int = Field(default=8 * MIB, ge=1024)
    """Longer request bodies are refused with 413, compressed ones by their size when unpacked."""

    request_timeout_s: float = Field(default=120.0, gt=0)
    """A request that cannot be answered within this is refused at once with 429, one whose answer has not begun by then is ended with
    503; a caller may ask for less. An upload takes as long as it takes."""

    body_timeout_s: float = Field(default=30.0, gt=0)
    """A request whose body has not arrived within this is ended with 408."""

    replica_batch_tokens: int = Field(default=2_048, ge=64)
    """Tokens of one batch of the endpoint; more helps only a GPU."""

    max_waiting_tokens: int = Field(default=1_000_000, ge=1)
    """Tokens that may wait in a replica; an organisation beyond its share of them is refused with 429."""

    vector_cache_bytes: int = Field(default=64 * MIB, ge=0)
    """Memory of a replica for vectors it computed before; 0 keeps none."""

    overflow: Literal["error", "truncate", "mean"] = "error"
    """What becomes of an input that is too long, when its request does not say: refused, cut, or embedded in parts and averaged."""

    overflow_by_model: Annotated[dict[str, Literal["error", "truncate", "mean"]], AfterValidator(Table)] = (
        Table()
    )
    """The same for single models, as JSON, by name."""

    any_dimensions: bool = False
    """Let ``dimensions`` cut vectors of models that were not trained for it."""

    unknown_fields: Literal["ignore", "error"] = "ignore"
    """How an unknown field or query parameter is treated: left out and named in the answer's header
    ``x-ignored-fields``, or refused with 400. Fields of other servers' APIs that change nothing here are never refused."""

    openai_tokens_file: AbsolutePath | None = None
    """``cl100k_base.tiktoken``, to read token arrays as OpenAI's clients send them. Unset: the one in the extra ``openai-tokens``."""
