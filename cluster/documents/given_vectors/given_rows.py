"""Check rows of given vectors: ``{"id", "vector", "text", "attributes"}``, from a request or from a file.

    checker = RowChecker(dim=384)
    rows, faults = checker.check([(1, {"id": "a", "vector": [...]}), (2, {"id": "b"})])
    faults[0].message                       # "has no vector"

Every row becomes either a ``GivenRow`` or a ``RowFault`` with its number. A checker remembers the ids of the
rows that it accepted, so it also finds ids that occur twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from psycopg.types.json import Jsonb

from cluster.documents.chunks.chunk_rows import MAX_ID_CHARACTERS, MAX_TEXT_BYTES, Accepted, ChunkRecord
from cluster.documents.given_vectors.id_set import IdSet
from cluster.errors import InvalidInput
from cluster.records import MAX_ATTRIBUTE_NAME, MAX_ATTRIBUTE_VALUE, MAX_ATTRIBUTES
from cluster.vector_index.attributes import FILE, SYSTEM, merged_attributes
from cluster.vector_index.filters import LARGEST_NUMBER, is_text

FIELDS = frozenset({"id", "vector", "text", "attributes"})
#: Maximum number of unknown fields whose names are kept.
MAX_IGNORED_NAMES = 32
#: A vector with a smaller length counts as a vector of length zero.
LEAST_LENGTH = 1e-100
#: A vector whose length differs from 1 by at most this is stored unchanged. Others are divided by their
#: length.
UNIT_TOLERANCE = 1e-5
#: Number types of a vector that JSON or Parquet can hold: floating point, integer, unsigned integer.
NUMBERS = "fiu"
#: Larger integers become floating-point numbers, as most parsers of JSON do it.
LARGEST_INTEGER = 2**63 - 1
NOT_FINITE = "has a vector with NaN, infinity, null or a length beyond 1e154"
ZERO_LENGTH = "has a vector of length zero, which has no direction"


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


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenRow:
    """A row that can be stored."""

    #: Number of the row, from 1.
    row: int
    id: str
    text: str
    attributes: Mapping[str, str | int | float | bool]
    #: (dim,) float32, unit length.
    vector: NDArray[np.float32]


class Unfit(Exception):
    """A row cannot be stored. The message continues a sentence such as "row 7": "has no vector"."""

    def __init__(self, kind: FaultKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class RowChecker:
    """Checks the rows of one request or file, in order.

    Args:
        dim: number of numbers of a vector.
    """

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._ids = IdSet()
        #: Names of the fields that rows had beside ``FIELDS``. They are ignored.
        self.ignored: set[str] = set()

    def check(
        self, rows: Iterable[tuple[int, Any]], vectors: NDArray[Any] | None = None
    ) -> tuple[list[GivenRow], list[RowFault]]:
        """Return the rows that can be stored, and those that cannot, each in the order of the rows.

        Args:
            rows: number and JSON value of each row. A vector may be a list of numbers or an array.
            vectors: (n, dim) numbers, if the rows bring their vectors in one array.
        """
        faults: list[RowFault] = []
        read: list[tuple[int, str, str, Mapping[str, Any]]] = []
        found: list[NDArray[np.float64]] = []
        for place, (number, row) in enumerate(rows):
            try:
                fields = self._fields(row)
                found.append(_numbers(row.get("vector"), self._dim) if vectors is None else vectors[place])
            except Unfit as exc:
                faults.append(RowFault(row=number, id=_shown_id(row), kind=exc.kind, message=str(exc)))
            else:
                read.append((number, *fields))
        units, unfit = _unit_vectors(found if vectors is None or faults else vectors, self._dim)
        fits = [place for place in range(len(read)) if place not in unfit]
        known = {fits[place] for place in self._ids.add([read[place][1] for place in fits])}
        again = Unfit(FaultKind.DUPLICATE_ID, "has the id of an earlier row")
        wrong = {**unfit, **dict.fromkeys(known, again)}
        faults += [
            RowFault(row=read[place][0], id=read[place][1], kind=why.kind, message=str(why))
            for place, why in wrong.items()
        ]
        good = [
            GivenRow(row=number, id=id, text=text, attributes=attributes, vector=units[place])
            for place, (number, id, text, attributes) in enumerate(read)
            if place not in wrong
        ]
        return good, sorted(faults, key=lambda fault: fault.row)

    def _fields(self, row: Any) -> tuple[str, str, Mapping[str, Any]]:
        """Return id, text and attributes of a row."""
        if isinstance(row, Unfit):
            raise row
        if not isinstance(row, dict):
            raise Unfit(FaultKind.ROW, "is not a JSON object")
        if len(row) > len(FIELDS) or not row.keys() <= FIELDS:
            unknown = [name for name in row if name not in FIELDS and is_text(name)]
            self.ignored.update(unknown[: MAX_IGNORED_NAMES - len(self.ignored)])
        return _id(row.get("id")), _text(row.get("text")), _attributes(row.get("attributes"))


def chunk_records(rows: Sequence[GivenRow]) -> list[ChunkRecord]:
    """Return the rows as they are stored. Each row is its own document; searches show its id as the file."""
    return [
        ChunkRecord(
            id=row.id,
            document=row.id,
            text=row.text,
            attributes=_stored_attributes(row.id, row.attributes),
            vector=row.vector,
        )
        for row in rows
    ]


def accepted_rows(rows: Sequence[GivenRow]) -> list[Accepted]:
    """Return the rows as they are stored, in the form for ``COPY``, ordered by id."""
    ordered = sorted(rows, key=lambda row: row.id)
    return [
        (
            row.id,
            row.id,
            row.text,
            Jsonb(orjson.dumps(_stored_attributes(row.id, row.attributes)), dumps=bytes),
            row.vector,
        )
        for row in ordered
    ]


def unit_vector(numbers: Sequence[float], dim: int) -> NDArray[np.float32]:
    """Return the vector of a search, (dim,) float32 with unit length.

    Raises:
        InvalidInput: the vector has another number of numbers, is not finite, or has length zero.
    """
    try:
        units, unfit = _unit_vectors([_numbers(list(numbers), dim)], dim)
        if unfit:
            raise unfit[0]
    except Unfit as exc:
        raise InvalidInput(f"the request {exc}", param="vector") from exc
    unit: NDArray[np.float32] = units[0]
    return unit


def _stored_attributes(id: str, owners: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that filters test. If a name is that of a system attribute, searches show the
    value as that attribute, such as ``page``, unless the value has another type.
    """
    types = {"page": int, "start": int, "end": int, "ordinal": int, "keywords": list}
    neutral = {"keywords": [], "filename": "", FILE: id}
    hidden = {
        name: neutral.get(name)
        for name in SYSTEM & owners.keys()
        if type(owners[name]) is not types.get(name, str)
    }
    return merged_attributes(hidden, owners)


def _id(value: Any) -> str:
    if value is None:
        raise Unfit(FaultKind.ID, "has no id")
    if not isinstance(value, str) or not is_text(value) or not 0 < len(value) <= MAX_ID_CHARACTERS:
        raise Unfit(
            FaultKind.ID, f"has an id that is not a text of 1 to {MAX_ID_CHARACTERS} characters without NUL"
        )
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unfit(FaultKind.TEXT, "has a text that is not a string")
    if not is_text(value):
        raise Unfit(FaultKind.TEXT, "has a text with a NUL character or half of a surrogate pair")
    if len(value) * 4 > MAX_TEXT_BYTES and len(value.encode()) > MAX_TEXT_BYTES:
        raise Unfit(FaultKind.TEXT, f"has a text of more than {MAX_TEXT_BYTES:,} bytes")
    return value


def _attributes(value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unfit(FaultKind.ATTRIBUTES, "has attributes that are not a JSON object")
    given = {name: one for name, one in value.items() if one is not None}
    if len(given) > MAX_ATTRIBUTES:
        raise Unfit(FaultKind.ATTRIBUTES, f"has {len(given)} attributes; the limit is {MAX_ATTRIBUTES}")
    for name, one in given.items():
        if not isinstance(name, str) or not 0 < len(name) <= MAX_ATTRIBUTE_NAME or not is_text(name):
            raise Unfit(
                FaultKind.ATTRIBUTES,
                f"has an attribute whose name is not a text of 1 to {MAX_ATTRIBUTE_NAME} characters",
            )
        if not _is_value(one):
            raise Unfit(
                FaultKind.ATTRIBUTES,
                f"has an attribute {name!r} that is not a string of at most {MAX_ATTRIBUTE_VALUE} "
                "characters, a number or a boolean",
            )
        if type(one) is int and abs(one) > LARGEST_INTEGER:
            given[name] = float(one)
    return given


def _is_value(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_ATTRIBUTE_VALUE and is_text(value)
    return type(value) in {bool, int, float} and abs(value) <= LARGEST_NUMBER  # NaN gives False


def _numbers(value: Any, dim: int) -> NDArray[np.float64]:
    """Return the vector, (dim,) float64. It may have NaN."""
    if value is None:
        raise Unfit(FaultKind.DIMENSION, "has no vector")
    if isinstance(value, list):
        if len(value) != dim:
            raise Unfit(FaultKind.DIMENSION, _length(len(value), dim))
        value = _array(value)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in NUMBERS or value.ndim != 1:
        raise Unfit(FaultKind.DIMENSION, "has a vector that is not a list of numbers")
    if len(value) != dim:
        raise Unfit(FaultKind.DIMENSION, _length(len(value), dim))
    return value.astype(np.float64, copy=False)


def _length(given: int, dim: int) -> str:
    return f"has a vector of {given:,} numbers; the store's vectors have {dim:,}"


def _array(value: list[Any]) -> Any:
    try:
        array = np.array(value)
    except (ValueError, OverflowError):  # nested lists of unequal lengths, for one
        return None
    if array.dtype != object:
        return array
    if all(one is None or type(one) in (int, float) for one in value):  # null, or a number beyond 64 bits
        return np.array([np.nan if one is None else float(one) for one in value])
    return None


def _unit_vectors(
    vectors: "NDArray[Any] | Sequence[NDArray[np.float64]]", dim: int
) -> tuple[NDArray[np.float32], dict[int, Unfit]]:
    """Return the vectors with unit length, (n, dim) float32, and why some have none, by position."""
    if not len(vectors):
        return np.empty((0, dim), dtype=np.float32), {}
    matrix = np.array(vectors, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        lengths = np.sqrt(np.einsum("ij,ij->i", matrix, matrix))
        other = np.abs(lengths - 1) > UNIT_TOLERANCE
        matrix[other] /= lengths[other, None]
    unfit = {
        int(place): Unfit(FaultKind.NOT_FINITE, NOT_FINITE) for place in np.flatnonzero(~np.isfinite(lengths))
    }
    unfit |= {
        int(place): Unfit(FaultKind.ZERO_LENGTH, ZERO_LENGTH)
        for place in np.flatnonzero(lengths < LEAST_LENGTH)
    }
    return matrix.astype(np.float32), unfit


def _shown_id(row: Any) -> str | None:
    id = row.get("id") if isinstance(row, dict) else None
    return id if isinstance(id, str) and is_text(id) and len(id) <= MAX_ID_CHARACTERS else None
