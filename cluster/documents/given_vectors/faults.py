"""Define the kinds of faults because of which a row of given vectors is not inserted, and the record of one
fault.

raise Unfit(FaultKind.ID, "has no id")
RowFault(row=7, id=None, kind=FaultKind.ID, message="has no id")
"""

from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """The reason why a row was not inserted."""

    #: The row is not a JSON object, or it is too long.
    ROW = "row"
    #: The id is missing, empty, too long, or not a string.
    ID = "id"
    #: The vector is missing, is not a list of numbers, or does not have as many numbers as the store's
    #: vectors.
    DIMENSION = "dimension"
    #: The vector has NaN, infinity or null, or its length is greater than 1e154.
    NOT_FINITE = "not_finite"
    #: The vector has length zero, so it has no direction.
    ZERO_LENGTH = "zero_length"
    #: The text is not a string, is too long, or cannot be stored.
    TEXT = "text"
    #: The attributes are not a JSON object, are more than 16, or have a name or value that is not valid.
    ATTRIBUTES = "attributes"
    #: An earlier row has the same id.
    DUPLICATE_ID = "duplicate_id"
    #: The vector index refused the row.
    INDEX = "index"


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFault:
    """A row that was not inserted, with the reason."""

    #: Number of the row, from 1.
    row: int
    #: Id of the row; None if the row has no id that can be shown.
    id: str | None
    kind: FaultKind
    #: What is wrong with the row, as the end of a sentence that begins with the row: "has no vector".
    message: str


class Unfit(Exception):
    """Raised if a row cannot be stored. The message is the end of a sentence that begins with the row: "has
    no vector".
    """

    def __init__(self, kind: FaultKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
