"""Which of a model's prompts belongs to which kind of input.

A model trained with prompts (E5, BGE, Nomic) reads questions and passages behind different ones and is much worse without
them; one that was not reads all alike. Called by the endpoint, and for documents by the bulk pipeline.

    prompt_for(engine.prompts, "document")       # "passage: ", or "" when the model has none for it
"""

from collections.abc import Mapping

#: What clients call a kind of input (Cohere, Voyage, Jina, sentence-transformers), and the names models give its prompt.
_QUERY = ("query", "search_query", "retrieval.query")
_DOCUMENT = ("document", "passage", "search_document", "retrieval.passage")
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
    """The text to put before an input of that kind (one of ``KINDS``); empty where the model has none."""
    return next((prompts[name] for name in KINDS[kind] if name in prompts), "")
