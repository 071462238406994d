"""The engine kind ``openai``: a model of OpenAI, or of a server that speaks OpenAI's protocol.

``OpenAIKind`` is one row of ``registry.KINDS``. Describing a model needs neither a network nor a key.

    CLUSTER_MODELS={"small": {"source": "openai:text-embedding-3-small", "key_env": "OPENAI_API_KEY"}}
"""

from cluster.engines.contract import (
    PROVIDER,
    Engine,
    Fingerprint,
    ModelEntry,
    ModelProperties,
    Tokeniser,
)
from cluster.engines.openai.known_models import KNOWN_MODELS, MAX_INPUT_TOKENS
from cluster.errors import Misconfigured
from cluster.records import digest

EXAMPLE = "openai:text-embedding-3-small"


class OpenAIKind:
    """Implements ``EngineKind``. The source of a model is the model's name at the provider."""

    options = frozenset(
        {
            "base_url",
            "key_env",
            "dimensions",
            "max_tokens",
            "tokens_per_minute",
            "requests_per_minute",
            "batch_queue_tokens",
            "price_per_million_tokens",
        }
    )

    def describe(self, entry: ModelEntry) -> Fingerprint:
        """Return the fingerprint, made from the model's name, vector length and maximum number of tokens.

        The server's address is not a part of the fingerprint, so the same model can also be reached through a
        proxy.

        Raises:
            Misconfigured: the model has no name, the length of its vectors is not known or not possible, or
                ``max_tokens`` is too large.
        """
        model = entry.source
        if not model:
            raise Misconfigured(f"CLUSTER_MODELS: {entry.name} names no model; write it as {EXAMPLE}")
        dim = _dim(entry, model)
        return Fingerprint(
            model=entry.name,
            revision=digest("openai", model, size=6),
            dim=dim,
            max_tokens=_max_tokens(entry),
            pooling=PROVIDER,
            normalised=True,
            precision="float32",
        )

    def properties(self, entry: ModelEntry) -> ModelProperties:
        """Return the lengths to which vectors may be cut. The models have no prompts."""
        dim = self.describe(entry).dim
        known = KNOWN_MODELS.get(entry.source or "")
        shorter = [one for one in known.dimensions if one < dim] if known else []
        return ModelProperties(prompts={}, dimensions=(*shorter, dim))

    def open_tokeniser(self, entry: ModelEntry) -> Tokeniser:
        """Open the tokeniser of OpenAI's embedding models.

        Raises:
            Misconfigured: for the same reasons as ``describe``, or the file with the vocabulary is missing or
                does not have the expected contents.
        """
        # Imported here, because the import loads the package tiktoken and ``describe`` does not need it.
        from cluster.engines.tokens.cl100k import Cl100kTokeniser, require_file  # noqa: PLC0415

        file = require_file(entry.settings.openai_tokens_file)
        return Cl100kTokeniser(file, max_content_tokens=self.describe(entry).max_tokens)

    def open_engine(self, entry: ModelEntry) -> Engine:
        """Open the engine. The engine sends nothing and opens no connection until it embeds.

        Raises:
            Misconfigured: for the same reasons as ``describe`` and ``open_tokeniser``.
        """
        # Importing the package openai takes 1 s, so processes that open no engine do not import the package.
        from cluster.engines.openai.engine import OpenAIEngine  # noqa: PLC0415

        engine: Engine = OpenAIEngine(entry, self.describe(entry), self.properties(entry).dimensions)
        return engine


def _max_tokens(entry: ModelEntry) -> int:
    most = entry.options.max_tokens or MAX_INPUT_TOKENS
    if most > MAX_INPUT_TOKENS:
        raise Misconfigured(
            f"CLUSTER_MODELS: {entry.name} has max_tokens {most:,}; the protocol allows {MAX_INPUT_TOKENS:,}"
        )
    return most


def _dim(entry: ModelEntry, model: str) -> int:
    known, asked = KNOWN_MODELS.get(model), entry.options.dimensions
    if known is None:
        if asked is None:
            raise Misconfigured(
                f"CLUSTER_MODELS: {entry.name} is the model {model}, whose vectors have a length that is not "
                "known here; set dimensions to the count of numbers in its vectors"
            )
        return asked
    if asked is None or asked == known.dim:
        return known.dim
    if asked > known.dim or not known.shortens:
        possible = f"1 to {known.dim:,}" if known.shortens else f"{known.dim:,} only"
        raise Misconfigured(
            f"CLUSTER_MODELS: {entry.name} has dimensions {asked:,}; vectors of {model} may have {possible}"
        )
    return asked
