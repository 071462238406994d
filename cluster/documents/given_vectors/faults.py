"""Why a row of given vectors is not inserted: the kinds of faults, and the record of a fault.

raise Unfit(FaultKind.ID, "has no id")
RowFault(row=7, id=None, kind=FaultKind.ID, message="has no id")
"""

from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """Why a row was not inserted."""

    #: The row is not a JSON object, or it is too long.
    ROW = "row"
    #: The id is missing, empty, too long, or not a text.
    ID = "id"
    #: The vector is missing, is not a list of numbers, or has another number of numbers than the store's.
    DIMENSION = "dimension"
    #: The vector has NaN, infinity or null, or its length is beyond 1e154.
    NOT_FINITE = "not_finite"
    #: The vector has length zero, so it has no direction.
    ZERO_LENGTH = "zero_length"
    #: The text is not a text, is too long, or cannot be stored.
    TEXT = "text"
    #: The attributes are not at most 16 named strings, numbers and booleans.
    ATTRIBUTES = "attributes"
    #: An earlier row has the same id.
    DUPLICATE_ID = "duplicate_id"
    #: The vector index refused the row.
    INDEX = "index"


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFault:
    """A row that was not inserted, and why."""

    #: Number of the row, from 1.
    row: int
    #: Id of the row; None if it has none.
    id: str | None
    kind: FaultKind
    #: Continues after "row 7": "has no vector".
    message: str


class Unfit(Exception):
    """A row cannot be stored. The message continues a sentence such as "row 7": "has no vector"."""

    def __init__(self, kind: FaultKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
