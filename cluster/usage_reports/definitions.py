"""Define the words of a report: for each kind of work, a title and a definition, which the PDF prints.

unit_of("embedding")          # "tokens"
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cluster.usage.events import UNITS


@dataclass(frozen=True, slots=True)
class WorkDefinition:
    """Describes a kind of work to the reader of a bill."""

    title: str
    definition: str


#: For each kind of usage, by name, its description. ``UNITS`` has the units.
DEFINITIONS: Mapping[str, WorkDefinition] = MappingProxyType(
    {
        "embedding": WorkDefinition(
            "Embeddings", "Tokens of texts and queries for which a model computed vectors."
        ),
        "reranking": WorkDefinition(
            "Reranking",
            "Tokens of queries and documents that a model read to rank the documents.",
        ),
        "provider_embedding": WorkDefinition(
            "Embeddings at a provider",
            "Tokens that a remote provider reported for requests of the cluster. The same work is also "
            "counted as Embeddings; the cost is what the provider asks.",
        ),
        "chat_input": WorkDefinition(
            "Chat input", "Tokens of prompts that a chat model read, with their sources and history."
        ),
        "chat_output": WorkDefinition("Chat output", "Tokens of answers that a chat model wrote."),
        "request": WorkDefinition("Requests", "Requests to the HTTP interface."),
        "page": WorkDefinition("Pages", "Pages of documents that were read."),
        "chunk": WorkDefinition("Chunks", "Parts of documents that were written for search."),
        "stored_bytes": WorkDefinition(
            "Stored bytes", "Bytes of files, counted once a day. The quantity is the sum over days."
        ),
        "stored_vectors": WorkDefinition(
            "Stored vectors", "Vectors, counted once a day. The quantity is the sum over days."
        ),
    }
)
#: General terms, which the PDF prints after the kinds of work.
TERMS: Mapping[str, str] = MappingProxyType(
    {
        "Day": "Days begin at midnight in the organisation's time zone, which the first page names.",
        "Event": "A usage event records one piece of work. Repeated deliveries of an event count once.",
        "Cost": "Quantity times the price that was valid at the time of the work, in US dollars, without "
        "rounding. A dash means that no price is set.",
        "Draft": "A draft can still change. A report becomes final after the grace period.",
        "Adjustment": "Usage of an earlier period that arrived after its final report. The amounts are the "
        "differences to what was billed before, and may be negative. Final reports never change.",
    }
)


def definition_of(kind: str) -> WorkDefinition:
    """Return the description of the kind. If this release does not know the kind, the title is its name and
    the definition says that there is none.
    """
    return DEFINITIONS.get(kind) or WorkDefinition(kind, "This release has no definition.")


def unit_of(kind: str) -> str:
    """Return the unit in which quantities of the kind are counted; ``units`` for an unknown kind."""
    return UNITS.get(kind, "units")
