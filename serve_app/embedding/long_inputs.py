"""Describe how to treat inputs that are too long, and how errors name an input of the request.

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
    """The rule for inputs with too many tokens."""

    #: ``error`` refuses the input, ``truncate`` cuts it, ``mean`` embeds it in parts and averages the
    #: vectors.
    overflow: Overflow = "truncate"
    #: The end of the input that is cut off.
    side: Side = "end"
    #: Maximum number of tokens of an input, special tokens included; None: as many as the model reads.
    most: int | None = None
    #: Name of the request's field that gives ``most``, for error messages.
    limit_field: str = ""


@dataclass(frozen=True, slots=True)
class InputField:
    """Describes the request's field with the inputs, for error messages."""

    field: str = "input"
    #: True if the field holds a single text instead of a list.
    single: bool = False
    #: Advice that an error gives for a text that is too long.
    remedy: str = 'send overflow="truncate" to cut it or overflow="mean" to average its parts'

    def name(self, position: int) -> str:
        """Return the name of one input, such as ``input`` or ``input[3]``."""
        return self.field if self.single else f"{self.field}[{position}]"


CUT = LongInputPolicy()
INPUT, SINGLE_INPUT = InputField(), InputField(single=True)
