"""Select a model's prompt for a kind of input.

Some models (E5, BGE, Nomic) were trained with one prompt before questions and another before passages, and
give much worse results without these prompts. Other models have no prompts. The endpoint uses this module for
all kinds of input, and the bulk pipeline for documents.

    prompt_for(engine.prompts, "document")       # "passage: ", or "" if the model has no prompt for documents
"""

from collections.abc import Mapping

_QUERY = ("query", "search_query", "retrieval.query")
_DOCUMENT = ("document", "passage", "search_document", "retrieval.passage")
#: Kinds of input under the names that clients use (Cohere, Voyage, Jina, sentence-transformers). The value
#: lists the names that the prompt may have in a model, the preferred name first.
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
    """Return the prompt for this kind of input (a key of ``KINDS``); empty if there is no such prompt."""
    return next((prompts[name] for name in KINDS[kind] if name in prompts), "")
