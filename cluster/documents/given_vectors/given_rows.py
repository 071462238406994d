"""Check rows of given vectors: ``{"id", "vector", "text", "attributes"}``, from a request or from a file.

    checker = RowChecker(dim=384)
    rows, faults = checker.check([(1, {"id": "a", "vector": [...]}), (2, {"id": "b"})])
    rows.ids, faults[0].message             # ["a"], "has no vector"

Every row is either in the ``GivenRows`` or has a ``RowFault`` with the number of the row. A checker remembers
the ids of the rows that it accepted, so it also finds ids that occur twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.documents.given_vectors.faults import FaultKind, RowFault, Unfit
from cluster.documents.given_vectors.given_numbers import common_matrix, unit_vectors, vector_of
from cluster.documents.given_vectors.id_set import IdSet
from cluster.records import (
    LARGEST_NUMBER,
    MAX_ATTRIBUTE_NAME,
    MAX_ATTRIBUTE_VALUE,
    MAX_ATTRIBUTES,
    MAX_CHUNK_ID_CHARACTERS,
    MAX_CHUNK_TEXT_BYTES,
)
from cluster.text.storable_text import is_text

FIELDS = frozenset({"id", "vector", "text", "attributes"})
#: Maximum number of unknown fields whose names are kept.
MAX_IGNORED_NAMES = 32
#: Maximum absolute value of an integer that is stored as an integer. Larger integers are stored as
#: floating-point numbers, because most parsers of JSON do the same.
LARGEST_INTEGER = 2**63 - 1
#: Types of the values of attributes.
VALUE_TYPES = frozenset({str, bool, int, float})

Attributes = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GivenRows:
    """Rows that can be stored, in columns. All columns have the same length."""

    #: Number of each row, from 1, ascending.
    numbers: Sequence[int]
    ids: Sequence[str]
    #: Text of each row; empty if the row has no text.
    texts: Sequence[str]
    attributes: Sequence[Attributes]
    #: (n, dim) float32, unit length.
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, places: slice) -> "GivenRows":
        return GivenRows(
            numbers=self.numbers[places],
            ids=self.ids[places],
            texts=self.texts[places],
            attributes=self.attributes[places],
            vectors=self.vectors[places],
        )

    @classmethod
    def joined(cls, parts: "Sequence[GivenRows]") -> "GivenRows":
        """Return one object with the rows of all parts. If there are no parts, the object has no rows."""
        if len(parts) == 1:
            return parts[0]
        filled = [part for part in parts if len(part)]
        return cls(
            numbers=[*chain.from_iterable(part.numbers for part in filled)],
            ids=[*chain.from_iterable(part.ids for part in filled)],
            texts=[*chain.from_iterable(part.texts for part in filled)],
            attributes=[*chain.from_iterable(part.attributes for part in filled)],
            vectors=np.concatenate([part.vectors for part in filled])
            if filled
            else np.empty((0, 0), dtype=np.float32),
        )


class RowChecker:
    """Checks the rows of one request or file, in order.

    Args:
        dim: count of the numbers in a vector.
    """

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._ids = IdSet()
        #: Names of unknown fields of the rows, at most ``MAX_IGNORED_NAMES``. Unknown fields are ignored.
        self.ignored: set[str] = set()

    def check(
        self, rows: Iterable[tuple[int, Any]], vectors: NDArray[Any] | None = None
    ) -> tuple[GivenRows, list[RowFault]]:
        """Return the rows that can be stored, and the faults of the other rows. Both results keep the order
        of the rows.

        Args:
            rows: number and JSON value of each row. A vector may be a list of numbers or an array. The value
                of a row that could not be read is an ``Unfit`` error.
            vectors: (n, dim) numbers, if the vectors of all rows are in one array.
        """
        given = list(rows)
        found = self._all_at_once(given, vectors)
        if found is not None:
            return self._storable(*found, faults=[])
        return self._storable(*self._one_by_one(given, vectors))

    def _all_at_once(
        self, rows: Sequence[tuple[int, Any]], vectors: NDArray[Any] | None
    ) -> tuple[GivenRows, NDArray[Any]] | None:
        """Check all rows together, which is several times as fast as ``_one_by_one``. Return the rows and the
        numbers of their vectors. Return None if a row may have a fault, because only ``_one_by_one`` finds
        the fault.
        """
        values = [row for _, row in rows]
        if not all(type(row) is dict for row in values):
            return None
        ids = [row.get("id") for row in values]
        texts = ["" if (text := row.get("text")) is None else text for row in values]
        attributes = [{} if (of := row.get("attributes")) is None else of for row in values]
        if not _are_ids(ids) or not _are_texts(texts) or not _are_attributes(attributes):
            return None
        if vectors is None:
            vectors = common_matrix([row.get("vector") for row in values], self._dim)
        if vectors is None:
            return None
        self._ignore(set().union(*values))
        return _rows([number for number, _ in rows], ids, texts, attributes), vectors

    def _one_by_one(
        self, rows: Sequence[tuple[int, Any]], vectors: NDArray[Any] | None
    ) -> tuple[GivenRows, NDArray[Any], list[RowFault]]:
        """Check each row. Return the rows without a fault, the numbers of their vectors, and the faults of
        the other rows.
        """
        faults: list[RowFault] = []
        read: list[tuple[int, str, str, Attributes]] = []
        found: list[NDArray[Any]] = []
        for place, (number, row) in enumerate(rows):
            try:
                fields = self._fields(row)
                found.append(vector_of(row.get("vector"), self._dim) if vectors is None else vectors[place])
            except Unfit as exc:
                faults.append(RowFault(row=number, id=_shown_id(row), kind=exc.kind, message=str(exc)))
            else:
                read.append((number, *fields))
        if not read:
            return GivenRows.joined(()), np.empty((0, self._dim)), faults
        numbers, ids, texts, attributes = zip(*read, strict=True)
        return _rows(numbers, ids, texts, attributes), np.stack(found), faults

    def _storable(
        self, rows: GivenRows, vectors: NDArray[Any], faults: list[RowFault]
    ) -> tuple[GivenRows, list[RowFault]]:
        """Return the rows with vectors of unit length, and all faults in the order of the rows. A row becomes
        a fault if its vector cannot get unit length, or if an earlier row has the same id.
        """
        units, wrong = unit_vectors(vectors)
        fits = [place for place in range(len(rows)) if place not in wrong] if wrong else range(len(rows))
        again = Unfit(FaultKind.DUPLICATE_ID, "has the id of an earlier row")
        known = self._ids.add([rows.ids[place] for place in fits] if wrong else rows.ids)
        wrong |= dict.fromkeys((fits[place] for place in known), again)
        faults += [
            RowFault(row=rows.numbers[place], id=rows.ids[place], kind=why.kind, message=str(why))
            for place, why in wrong.items()
        ]
        kept = [place for place in range(len(rows)) if place not in wrong] if wrong else None
        good = GivenRows(
            numbers=_at(rows.numbers, kept),
            ids=_at(rows.ids, kept),
            texts=_at(rows.texts, kept),
            attributes=_at(rows.attributes, kept),
            vectors=units if kept is None else units[kept],
        )
        return good, sorted(faults, key=lambda fault: fault.row)

    def _fields(self, row: Any) -> tuple[str, str, Attributes]:
        """Check a row, and return its id, text and attributes."""
        if isinstance(row, Unfit):
            raise row
        if not isinstance(row, dict):
            raise Unfit(FaultKind.ROW, "is not a JSON object")
        if not row.keys() <= FIELDS:
            self._ignore(row)
        return _id(row.get("id")), _text(row.get("text")), _attributes(row.get("attributes"))

    def _ignore(self, names: Iterable[str]) -> None:
        """Remember the unknown fields among these names, up to ``MAX_IGNORED_NAMES``."""
        unknown = [name for name in names if name not in FIELDS and is_text(name)]
        self.ignored.update(unknown[: MAX_IGNORED_NAMES - len(self.ignored)])


def _rows(
    numbers: Sequence[int], ids: Sequence[Any], texts: Sequence[Any], attributes: Sequence[Any]
) -> GivenRows:
    nothing = np.empty((len(ids), 0), dtype=np.float32)
    return GivenRows(numbers=numbers, ids=ids, texts=texts, attributes=attributes, vectors=nothing)


def _at(column: Sequence[Any], places: Sequence[int] | None) -> Sequence[Any]:
    return column if places is None else [column[place] for place in places]


def _are_ids(values: Sequence[Any]) -> bool:
    """True if each value is certainly a valid id; see ``_id``."""
    if not all(type(value) is str for value in values):
        return False
    lengths = [*map(len, values)]
    return (
        bool(lengths)
        and min(lengths) > 0
        and max(lengths) <= MAX_CHUNK_ID_CHARACTERS
        and is_text("".join(values))
    )


def _are_texts(values: Sequence[Any]) -> bool:
    """True if each value is certainly a valid text; see ``_text``."""
    return (
        all(type(value) is str for value in values)
        and max(map(len, values), default=0) * 4 <= MAX_CHUNK_TEXT_BYTES
        and is_text("".join(values))
    )


def _are_attributes(values: Sequence[Any]) -> bool:
    """True if each value certainly has valid attributes, which are stored without a change; see
    ``_attributes``.
    """
    if not all(type(value) is dict and len(value) <= MAX_ATTRIBUTES for value in values):
        return False
    names = set(chain.from_iterable(values))
    if not all(type(name) is str and 0 < len(name) <= MAX_ATTRIBUTE_NAME and is_text(name) for name in names):
        return False
    found = [*chain.from_iterable(value.values() for value in values)]
    if not VALUE_TYPES.issuperset(map(type, found)):
        return False
    strings = [value for value in found if type(value) is str]
    if strings and (max(map(len, strings)) > MAX_ATTRIBUTE_VALUE or not is_text("".join(strings))):
        return False
    # For NaN, the comparison is false. Integers above ``LARGEST_INTEGER`` have to become floating-point
    # numbers, so ``_attributes`` has to convert these integers.
    return all(
        abs(value) <= (LARGEST_NUMBER if type(value) is float else LARGEST_INTEGER)
        for value in found
        if type(value) is not str
    )


def _id(value: Any) -> str:
    if value is None:
        raise Unfit(FaultKind.ID, "has no id")
    if not isinstance(value, str) or not is_text(value) or not 0 < len(value) <= MAX_CHUNK_ID_CHARACTERS:
        raise Unfit(
            FaultKind.ID,
            f"has an id that is not a text of 1 to {MAX_CHUNK_ID_CHARACTERS} characters without NUL",
        )
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unfit(FaultKind.TEXT, "has a text that is not a string")
    if not is_text(value):
        raise Unfit(FaultKind.TEXT, "has a text with a NUL character or half of a surrogate pair")
    if len(value) * 4 > MAX_CHUNK_TEXT_BYTES and len(value.encode()) > MAX_CHUNK_TEXT_BYTES:
        raise Unfit(FaultKind.TEXT, f"has a text of more than {MAX_CHUNK_TEXT_BYTES:,} bytes")
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
    return type(value) in {bool, int, float} and abs(value) <= LARGEST_NUMBER  # false for NaN


def _shown_id(row: Any) -> str | None:
    id = row.get("id") if isinstance(row, dict) else None
    return id if isinstance(id, str) and is_text(id) and len(id) <= MAX_CHUNK_ID_CHARACTERS else None
