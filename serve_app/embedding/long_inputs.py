"""How inputs that are too long are treated, and how errors name an input, in the terms of the request's API.

long = LongInputPolicy(overflow="truncate", side="start")
named = InputField("texts", remedy='send truncate="END" to cut it')
named.name(3)                                # "texts[3]"
"""

from dataclasses import dataclass
from typing import Literal

Overflow = Literal["error", "truncate", "mean"]
Side = Literal["start", "end"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LongInputPolicy:
    """The treatment of inputs with too many tokens."""

    #: Refuse the input; cut it; or embed it in parts and average their vectors.
    overflow: Overflow = "truncate"
    #: The side at which an input is cut.
    side: Side = "end"
    #: Maximum number of tokens of an input, special tokens included; None: as many as the model reads.
    most: int | None = None
    #: The request's field with that number.
    limit_field: str = ""


@dataclass(frozen=True, slots=True)
class InputField:
    """The request's field with the inputs, for errors."""

    field: str = "input"
    #: True if the field holds a single text instead of a list.
    single: bool = False
    #: Advice for a text that is too long.
    remedy: str = 'send overflow="truncate" to cut it or overflow="mean" to average its parts'

    def name(self, position: int) -> str:
        """The name of one input: ``input``, or ``input[3]``."""
        return self.field if self.single else f"{self.field}[{position}]"


CUT = LongInputPolicy()
INPUT, SINGLE_INPUT = InputField(), InputField(single=True)
