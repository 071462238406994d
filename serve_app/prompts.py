"""Which prompt of the model a request asks for: by its kind of input, by the prompt's own name, or by the model's suffix.

A model trained with prompts (E5, BGE, Nomic) reads questions and passages behind different ones and is much worse without
them; one that was not reads all alike, and every kind of input gives the same vector.

    prompt = prompt_of(model, input_type="query", prompt_name=None)
"""

from cluster.errors import InvalidInput
from serve_app.served_model import ServedModel
from serve_app.service import Service

#: What clients call a kind of input (Cohere, Voyage, Jina, sentence-transformers), and the names models give its prompt.
KINDS = {
    "query": ("query", "search_query", "retrieval.query"),
    "search_query": ("query", "search_query", "retrieval.query"),
    "document": ("document", "passage", "search_document", "retrieval.passage"),
    "passage": ("document", "passage", "search_document", "retrieval.passage"),
    "search_document": ("document", "passage", "search_document", "retrieval.passage"),
    "classification": ("classification",),
    "clustering": ("clustering",),
}
SUFFIXES = {"-query": "query", "-passage": "passage"}


def prompt_of(model: ServedModel, *, input_type: str | None, prompt_name: str | None) -> str:
    """The text to put before each input; empty when the model has none for its kind.

    Raises:
        InvalidInput: an unknown kind, a prompt the model does not have, or both given.
    """
    prompts = model.engine.prompts
    if prompt_name is not None:
        if input_type is not None:
            raise InvalidInput("input_type and prompt_name both choose a prompt; send one of them", param="prompt_name")
        if prompt_name not in prompts:
            known = ", ".join(sorted(prompts)) or "none"
            raise InvalidInput(f"{model.name} has no prompt {prompt_name!r}; it has: {known}", param="prompt_name")
        return prompts[prompt_name]
    if input_type is None:
        return ""
    if input_type not in KINDS:
        raise InvalidInput(f"input_type is {input_type!r}; it may be {', '.join(KINDS)}", param="input_type")
    return next((prompts[name] for name in KINDS[input_type] if name in prompts), "")


def model_and_kind(service: Service, name: str) -> tuple[ServedModel, str | None]:
    """The model, and the kind of input its suffix names: ``all-MiniLM-L6-v2-query``.

    Raises:
        ModelNotFound: neither the name nor the name without a suffix is served.
    """
    for suffix, kind in SUFFIXES.items():
        base = name.removesuffix(suffix)
        if name not in service.models and base != name and base in service.models:
            return service.models[base], kind
    return service.model(name), None
