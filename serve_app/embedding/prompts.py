"""Select a request's prompt by the kind of the inputs, the prompt's name, or the suffix of the model's name.

prompt = prompt_of(model, input_type="query", prompt_name=None)
"""

from cluster.engines.prompts import KINDS, prompt_for
from cluster.errors import InvalidInput
from serve_app.embedding.served_model import ServedModel
from serve_app.embedding.served_models import ServedModels

SUFFIXES = {"-query": "query", "-passage": "passage"}


def prompt_of(
    model: ServedModel, *, input_type: str | None, prompt_name: str | None = None, field: str = "input_type"
) -> str:
    """Return the text to put before each input. The text is empty if the request chooses no prompt, or if the
    model has no prompt for this kind of input.

    Args:
        model: the model with the prompts.
        input_type: the kind of the inputs; None if the request does not give it.
        prompt_name: the name of the prompt; None if the request does not give it.
        field: name of ``input_type`` in the request.

    Raises:
        InvalidInput: the kind is unknown, the model has no prompt with this name, or the request gives both
            ``input_type`` and ``prompt_name``.
    """
    prompts = model.engine.prompts
    if prompt_name is not None:
        if input_type is not None:
            raise InvalidInput(
                f"{field} and prompt_name both choose a prompt; send only one of them", param="prompt_name"
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


def model_and_kind(models: ServedModels, name: str) -> tuple[ServedModel, str | None]:
    """Return the model and the kind of input in the name's suffix, as in ``all-MiniLM-L6-v2-query``. The kind
    is None if the name has no such suffix.

    Raises:
        ModelNotFound: neither the name nor the name without its suffix is served.
        NotPermitted: the caller's key does not allow the model.
    """
    for suffix, kind in SUFFIXES.items():
        base = name.removesuffix(suffix)
        if name not in models and base != name and base in models:
            return models.named(base), kind
    return models.named(name), None
