"""Which prompt of the model a request asks for: by its kind of input, by the prompt's own name, or by the model's suffix.

prompt = prompt_of(model, input_type="query", prompt_name=None)
"""

from cluster.engines.prompts import KINDS, prompt_for
from cluster.errors import InvalidInput
from serve_app.embedding.served_model import ServedModel
from serve_app.service import Service

SUFFIXES = {"-query": "query", "-passage": "passage"}


def prompt_of(
    model: ServedModel, *, input_type: str | None, prompt_name: str | None = None, field: str = "input_type"
) -> str:
    """The text to put before each input; empty when the model has none for its kind.

    Args:
        model: whose prompts they are.
        input_type: the kind of input; None: not said.
        prompt_name: the prompt's own name; None: not said.
        field: what ``input_type`` is called in the request.

    Raises:
        InvalidInput: an unknown kind, a prompt the model does not have, or both given.
    """
    prompts = model.engine.prompts
    if prompt_name is not None:
        if input_type is not None:
            raise InvalidInput(
                f"{field} and prompt_name both choose a prompt; send one of them", param="prompt_name"
            )
        if prompt_name not in prompts:
            known = ", ".join(sorted(prompts)) or "none"
            raise InvalidInput(
                f"{model.name} has no prompt {prompt_name!r}; it has: {known}", param="prompt_name"
            )
        return prompts[prompt_name]
    if input_type is None:
        return ""
    if input_type not in KINDS:
        raise InvalidInput(f"{field} is {input_type!r}; it may be {', '.join(KINDS)}", param=field)
    return prompt_for(prompts, input_type)


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
