"""Fields of other servers' APIs that mean what a field of ours means, or that a server of ours need not be asked for.

vLLM's, Jina's, Voyage's, Cohere's and TEI's clients send them. They are honoured, or refused where that cannot be.

    body.long("error")                          # Long(overflow="truncate", side="end")
    one_of(top_n=body.top_n, top_k=body.top_k)
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from cluster.errors import InvalidInput
from serve_app.edge.request_model import RequestModel, Whole, must
from serve_app.embedding.long_inputs import Long, Overflow, Side

#: What vLLM and Cohere call the place of a request in their queues; here the header ``x-priority`` does that.
QUEUEING = frozenset({"priority", "request_id", "cache_salt"})
#: For models that read more than text.
OF_IMAGES = frozenset({"mm_processor_kwargs"})

#: Cohere's and NVIDIA's names, and TEI's and Jina's flags.
Truncate = bool | Literal["NONE", "START", "END"]
CUTS: dict[Any, tuple[Overflow, Side]] = {
    True: ("truncate", "end"),
    False: ("error", "end"),
    "NONE": ("error", "end"),
    "START": ("truncate", "start"),
    "END": ("truncate", "end"),
}
SIDES: dict[str, Side] = {"left": "start", "right": "end"}


def _only(wanted: bool, why: str) -> AfterValidator:
    def check(given: bool) -> bool:
        if given is not wanted:
            raise must(f"be {'true' if wanted else 'false'}, or left out: {why}")
        return given

    return AfterValidator(check)


UnitLength = Annotated[bool, _only(True, "vectors have unit length here, always")]
WithSpecialTokens = Annotated[bool, _only(True, "the model was trained with its special tokens")]
OneVector = Annotated[bool, _only(False, "an input has one vector here")]
EachAlone = Annotated[bool, _only(False, "each input is embedded by itself here")]
Sigmoid = Annotated[bool, _only(False, "scores lie between 0 and 1 here, always")]
ScoresInRange = Annotated[bool, _only(True, "scores lie between 0 and 1 here, always")]
Direction = Literal["left", "right", "Left", "Right"]
#: vLLM's: so many tokens, special tokens included; -1: as many as the model reads.
TokensKept = Annotated[
    Whole,
    Field(ge=-1, description="Cut to so many tokens, special tokens included; -1: to what the model reads"),
]


class CutFields(RequestModel):
    """What becomes of long inputs, as vLLM, Jina and Voyage have it."""

    truncate: Annotated[
        Truncate | None,
        Field(description="Cut what is too long: true, START or END; or refuse it: false, NONE"),
    ] = None
    truncation: Annotated[bool | None, Field(description="Voyage's name for `truncate`")] = None
    truncate_prompt_tokens: TokensKept | None = None
    truncation_side: Annotated[Direction | None, Field(description="Which end is cut; right by itself")] = (
        None
    )

    def long(self, otherwise: Overflow, *, overflow: Overflow | None = None) -> Long:
        """What is to become of inputs that are too long.

        Args:
            otherwise: if none of the fields says it.
            overflow: our own field for it.

        Raises:
            InvalidInput: two fields say it, or one of them says that nothing is left.
        """
        tokens = self.truncate_prompt_tokens
        if (
            self.truncate is None
            and self.truncation is None
            and tokens is None
            and self.truncation_side is None
        ):
            return Long(overflow=overflow or otherwise)
        said = {
            "overflow": overflow,
            "truncate": self.truncate,
            "truncation": self.truncation,
            "truncate_prompt_tokens": tokens,
        }
        given = [name for name, value in said.items() if value is not None]
        if len(given) > 1:
            raise InvalidInput(
                f"{given[0]} and {given[1]} both say what becomes of long inputs; send one of them",
                param=given[1],
            )
        flag = self.truncate if self.truncation is None else self.truncation
        cut: Overflow = overflow or otherwise
        side: Side = "end"
        if flag is not None:
            cut, side = CUTS[flag]
        if self.truncation_side is not None:
            side = SIDES[self.truncation_side.lower()]
        if tokens is None:
            return Long(overflow=cut, side=side)
        return Long(
            overflow="truncate",
            side=side,
            most=None if tokens == -1 else tokens,
            said_by="truncate_prompt_tokens",
        )


def one_of(**given: Any) -> Any:
    """The value of fields that mean the same; None where none is given.

    Raises:
        InvalidInput: they are given and differ.
    """
    said = {name: value for name, value in given.items() if value is not None}
    (first, value), *others = said.items() if said else [("", None)]
    for name, other in others:
        if other != value:
            raise InvalidInput(f"{first} and {name} say different things; send one of them", param=name)
    return value
