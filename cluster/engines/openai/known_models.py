"""The known properties of OpenAI's own embedding models, which describe a model without a network.

known = KNOWN_MODELS["text-embedding-3-small"]
known.dim                                       # 1536
"""

from dataclasses import dataclass
from decimal import Decimal

#: Maximum number of tokens of one input (OpenAI, "Embeddings", API reference).
MAX_INPUT_TOKENS = 8_191
#: Share of the usual price that an answer of the Batch API costs (OpenAI, "Batch API": a 50% discount).
BATCH_PRICE_FACTOR = Decimal("0.5")
#: Maximum number of inputs and maximum number of tokens in one request (OpenAI, "Embeddings", API reference).
MAX_REQUEST_INPUTS, MAX_REQUEST_TOKENS = 2_048, 300_000


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownModel:
    """The properties of one of OpenAI's own models."""

    #: Count of the numbers in a vector that is not cut.
    dim: int
    #: Lengths to which vectors may be cut, the full length included.
    dimensions: tuple[int, ...]

    @property
    def shortens(self) -> bool:
        """True if the model takes the parameter ``dimensions``."""
        return len(self.dimensions) > 1


#: OpenAI's embedding models by name ("New embedding models and API updates", OpenAI, January 2024).
KNOWN_MODELS = {
    "text-embedding-3-small": KnownModel(dim=1_536, dimensions=(512, 1_536)),
    "text-embedding-3-large": KnownModel(dim=3_072, dimensions=(256, 1_024, 3_072)),
    "text-embedding-ada-002": KnownModel(dim=1_536, dimensions=(1_536,)),
}


def shortening(model: str | None, dim: int) -> dict[str, int]:
    """Return the parameter ``dimensions`` of a request for vectors that are shorter than the full length.

    Return an empty dictionary for vectors of full length, and for models that are not in ``KNOWN_MODELS``.
    """
    known = KNOWN_MODELS.get(model or "")
    return {"dimensions": dim} if known is not None and dim < known.dim else {}
