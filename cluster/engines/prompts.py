"""Select a model's prompt for a kind of input.

Some models (E5, BGE, Nomic) were trained with one prompt before questions and another before passages, and
are much worse without them. Other models have no prompts. Used by the endpoint, and for documents by the bulk
pipeline.

    prompt_for(engine.prompts, "document")       # "passage: ", or "" if the model has no prompt for documents
"""

from collections.abc import Mapping

_QUERY = ("query", "search_query", "retrieval.query")
_DOCUMENT = ("document", "passage", "search_document", "retrieval.passage")
#: Kinds of input, as clients name them (Cohere, Voyage, Jina, sentence-transformers); and the names of their
#: prompts in models, the preferred one first.
KINDS: dict[str, tuple[str, ...]] = {
    "query": _QUERY,
    "search_query": _QUERY,
    "document": _DOCUMENT,
    "passage": _DOCUMENT,
    "search_document": _DOCUMENT,
    "retrieval.query": _QUERY,
    "retrieval.passage": _DOCUMENT,
    "classification": ("classification",),
    "clustering": ("clustering",),
    "separation": ("separation", "clustering"),
    "text-matching": ("text-matching", "STS"),
    "code.query": ("code.query", *_QUERY),
    "code.passage": ("code.passage", *_DOCUMENT),
}


def prompt_for(prompts: Mapping[str, str], kind: str) -> str:
    """The text to put before an input of a kind of ``KINDS``; empty if the model has no prompt for it."""
    return next((prompts[name] for name in KINDS[kind] if name in prompts), "")
