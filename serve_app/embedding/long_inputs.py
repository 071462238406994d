"""What becomes of inputs that are too long, and how an error names an input: in the words of the API that the request is in.

long = Long(overflow="truncate", side="start")
named = Named("texts", remedy='send truncate="END" to cut it')
named.name(3)                                # "texts[3]"
"""

from dataclasses import dataclass
from typing import Literal

Overflow = Literal["error", "truncate", "mean"]
Side = Literal["start", "end"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Long:
    """How inputs are treated that have more tokens than are read."""

    #: Refused, cut, or embedded in parts and averaged.
    overflow: Overflow = "truncate"
    #: Where they are cut, if they are.
    side: Side = "end"
    #: Tokens read of each, special tokens included; None: as many as the model reads.
    most: int | None = None
    #: The field that said so.
    said_by: str = ""


@dataclass(frozen=True, slots=True)
class Named:
    """The field that inputs came in."""

    field: str = "input"
    #: A text alone, not in a list.
    lone: bool = False
    #: What may be sent beside a text that is too long.
    remedy: str = 'send overflow="truncate" to cut it or overflow="mean" to average its parts'

    def name(self, position: int) -> str:
        """The input as the client wrote it: ``input``, or ``input[3]``."""
        return self.field if self.lone else f"{self.field}[{position}]"


CUT = Long()
INPUT, LONE_INPUT = Named(), Named(lone=True)
