"""Request fields that the clients of vLLM, Jina, Voyage, Cohere and TEI send.

Each field has the same effect as a field of this API, asks for what this API always does, or is ignored. A
value that asks for anything else is refused.

    body.long("error")                          # LongInputPolicy(overflow="truncate", side="end")
    one_of(top_n=body.top_n, top_k=body.top_k)
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from cluster.errors import InvalidInput
from serve_app.edge.request_model import RequestModel, Whole
from serve_app.embedding.long_inputs import LongInputPolicy, Overflow, Side
from serve_app.messages import must

#: Fields with which vLLM and Cohere order their queues. These fields are ignored, because the header
#: ``x-priority`` chooses the lane.
QUEUEING = frozenset({"priority", "request_id", "cache_salt"})
#: Fields for models that also read images. These fields are ignored.
OF_IMAGES = frozenset({"mm_processor_kwargs"})

#: The values of ``truncate``: names from Cohere and NVIDIA, booleans from TEI and Jina.
Truncate = bool | Literal["NONE", "START", "END"]
CUTS: dict[Any, tuple[Overflow, Side]] = {
    True: ("truncate", "end"),
    False: ("error", "end"),
    "NONE": ("error", "end"),
    "START": ("truncate", "start"),
    "END": ("truncate", "end"),
}
SIDES: dict[str, Side] = {"left": "start", "right": "end"}


def _only(allowed: bool, reason: str) -> AfterValidator:
    def check(value: bool) -> bool:
        if value is not allowed:
            raise must(f"be {'true' if allowed else 'false'}, or left out: {reason}")
        return value

    return AfterValidator(check)


def _about(allowed: bool, reason: str) -> Any:
    return Field(description=f"Only `{'true' if allowed else 'false'}` is accepted: {reason}")


_UNIT_LENGTH = (True, "vectors always have unit length here")
_SPECIAL_TOKENS = (True, "the model was trained with its special tokens")
_ONE_VECTOR = (False, "an input has one vector here")
_EACH_ALONE = (False, "each input is embedded by itself here")
_SIGMOID = (False, "scores always lie between 0 and 1 here")
_SCORES_IN_RANGE = (True, "scores always lie between 0 and 1 here")

UnitLength = Annotated[bool, _only(*_UNIT_LENGTH), _about(*_UNIT_LENGTH)]
WithSpecialTokens = Annotated[bool, _only(*_SPECIAL_TOKENS), _about(*_SPECIAL_TOKENS)]
OneVector = Annotated[bool, _only(*_ONE_VECTOR), _about(*_ONE_VECTOR)]
EachAlone = Annotated[bool, _only(*_EACH_ALONE), _about(*_EACH_ALONE)]
Sigmoid = Annotated[bool, _only(*_SIGMOID), _about(*_SIGMOID)]
ScoresInRange = Annotated[bool, _only(*_SCORES_IN_RANGE), _about(*_SCORES_IN_RANGE)]
Direction = Literal["left", "right", "Left", "Right"]


class CutFields(RequestModel):
    """The fields with which clients of vLLM, Jina and Voyage say how to treat long inputs."""

    truncate: Truncate | None = None
    """`true`, `START` or `END` cut an input that is too long; `false` or `NONE` refuse it."""
    truncation: bool | None = None
    """Voyage's name for `truncate`."""
    truncate_prompt_tokens: Annotated[Whole, Field(ge=-1)] | None = None
    """Number of tokens to which an input is cut, special tokens included; -1 means the model's maximum."""
    truncation_side: Direction | None = None
    """The end of an input that is cut; `right` by default."""

    def long(self, otherwise: Overflow, *, overflow: Overflow | None = None) -> LongInputPolicy:
        """Return the rule for inputs that are too long.

        Args:
            otherwise: the rule if no field sets the rule.
            overflow: value of the request's field ``overflow``; None if the request does not have the field.

        Raises:
            InvalidInput: two fields set the rule.
        """
        tokens = self.truncate_prompt_tokens
        rules = {
            "overflow": overflow,
            "truncate": self.truncate,
            "truncation": self.truncation,
            "truncate_prompt_tokens": tokens,
        }
        set_fields = [name for name, value in rules.items() if value is not None]
        if len(set_fields) > 1:
            raise InvalidInput(
                f"{set_fields[0]} and {set_fields[1]} both say what to do with long inputs; send one of them",
                param=set_fields[1],
            )
        flag = self.truncate if self.truncation is None else self.truncation
        cut: Overflow = overflow or otherwise
        side: Side = "end"
        if flag is not None:
            cut, side = CUTS[flag]
        if self.truncation_side is not None:
            side = SIDES[self.truncation_side.lower()]
        if tokens is None:
            return LongInputPolicy(overflow=cut, side=side)
        return LongInputPolicy(
            overflow="truncate",
            side=side,
            most=None if tokens == -1 else tokens,
            limit_field="truncate_prompt_tokens",
        )


def one_of(**fields: Any) -> Any:
    """Return the value of fields that have the same meaning; None if none of the fields is given.

    Raises:
        InvalidInput: two of the fields are given with different values.
    """
    values = {name: value for name, value in fields.items() if value is not None}
    (first, value), *others = values.items() if values else [("", None)]
    for name, other in others:
        if other != value:
            raise InvalidInput(f"{first} and {name} contradict each other; send one of them", param=name)
    return value
