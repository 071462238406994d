"""Parse OpenAI's comparison and compound filters, and test whether attributes pass a filter.

    parse_filter({"type": "and", "filters": [{"type": "eq", "key": "page", "value": 3}, ...]})

``matches`` defines what a filter means, which is the same in every index. A comparison uses one attribute. An
attribute that is missing, null, a list or an object matches only ``ne`` and ``nin``. Values of different
kinds (number, string, boolean) are unequal and have no order. Numbers are compared exactly, as the decimal
numbers in the JSON text, so 1 equals 1.0. Strings are ordered by code point. Booleans have no order.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, cast, get_args

from cluster.errors import InvalidInput
from cluster.records import LARGEST_NUMBER
from cluster.text.storable_text import is_text

Scalar = str | float | bool
ComparisonOperator = Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"]
COMPARISONS = frozenset(get_args(ComparisonOperator))
ORDERS = frozenset({"gt", "gte", "lt", "lte"})
SETS = frozenset({"in", "nin"})

MAX_DEPTH = 8
#: Maximum number of conditions of a whole filter. Each compound and each value of a comparison counts as one
#: condition.
MAX_CONDITIONS = 1_024
MAX_KEY_LENGTH = 64
MAX_STRING_LENGTH = 4_096


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Compares one attribute with a value, or with a list of values for ``in`` and ``nin``."""

    operator: ComparisonOperator
    key: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Compound:
    """Requires all (and) or any (or) of the filters."""

    operator: Literal["and", "or"]
    filters: "tuple[Filter, ...]"


Filter = Comparison | Compound


def parse_filter(given: Any) -> Filter:
    """Convert a filter from JSON values to a typed tree.

    Raises:
        InvalidInput: the filter is not valid; the message names the place of the fault.
    """
    remaining = [MAX_CONDITIONS]
    return _parse(given, "filters", MAX_DEPTH, remaining)


def matches(filter: Filter, attributes: Mapping[str, Any]) -> bool:
    """Return True if a chunk with these attributes passes the filter."""
    if isinstance(filter, Compound):
        every = all if filter.operator == "and" else any
        return every(matches(part, attributes) for part in filter.filters)
    value = _comparable(attributes.get(filter.key))
    values = [_comparable(one) for one in filter.values]
    if filter.operator in ORDERS:
        return type(value) is type(values[0]) and _order(filter.operator)(value, values[0])
    among = any(type(value) is type(other) and value == other for other in values)
    return among if filter.operator in {"eq", "in"} else not among


def _parse(given: Any, place: str, depth: int, remaining: list[int]) -> Filter:
    if not isinstance(given, Mapping):
        raise InvalidInput(f"{place} must be an object with a type, not {_shown(given)}", param=place)
    if depth == 0:
        raise InvalidInput(f"{place} is nested deeper than {MAX_DEPTH} levels", param=place)
    operator = given.get("type")
    if operator in ("and", "or"):
        return _compound(operator, given, place, depth, remaining)
    if not isinstance(operator, str) or operator not in COMPARISONS:
        raise InvalidInput(
            f"{place}.type must be one of {', '.join([*sorted(COMPARISONS), 'and', 'or'])}, "
            f"not {_shown(operator)}",
            param=place,
        )
    comparison = _comparison(cast(ComparisonOperator, operator), given, place)
    _spend(remaining, len(comparison.values))
    return comparison


def _compound(
    operator: Literal["and", "or"], given: Mapping[str, Any], place: str, depth: int, remaining: list[int]
) -> Compound:
    _only(given, {"type", "filters"}, place)
    _spend(remaining, 1)
    parts = given.get("filters")
    if not isinstance(parts, list | tuple) or not parts:
        raise InvalidInput(f"{place}.filters must be a list of at least one filter", param=place)
    filters = tuple(
        _parse(part, f"{place}.filters[{i}]", depth - 1, remaining) for i, part in enumerate(parts)
    )
    return Compound(operator=operator, filters=filters)


def _comparison(operator: ComparisonOperator, given: Mapping[str, Any], place: str) -> Comparison:
    _only(given, {"type", "key", "value"}, place)
    key, value = given.get("key"), given.get("value")
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY_LENGTH or not is_text(key):
        raise InvalidInput(f"{place}.key must be a string of 1 to {MAX_KEY_LENGTH} characters", param=place)
    if operator in SETS:
        if not isinstance(value, list | tuple) or not 0 < len(value) <= MAX_CONDITIONS:
            raise InvalidInput(
                f"{place}.value must be a list of 1 to {MAX_CONDITIONS} values for {operator}", param=place
            )
        return Comparison(
            operator=operator,
            key=key,
            values=tuple(_scalar(one, f"{place}.value[{i}]") for i, one in enumerate(value)),
        )
    scalar = _scalar(value, f"{place}.value")
    if operator in ORDERS and isinstance(scalar, bool):
        raise InvalidInput(
            f"{place}.value is a boolean, and booleans have no order: use eq or ne", param=place
        )
    return Comparison(operator=operator, key=key, values=(scalar,))


def _spend(remaining: list[int], conditions: int) -> None:
    remaining[0] -= conditions
    if remaining[0] < 0:
        raise InvalidInput(f"filters hold more than {MAX_CONDITIONS} conditions", param="filters")


def _scalar(value: Any, place: str) -> Scalar:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and abs(value) <= LARGEST_NUMBER:  # false for NaN and infinities
        return value
    if isinstance(value, str) and len(value) <= MAX_STRING_LENGTH and is_text(value):
        return value
    raise InvalidInput(
        f"{place} must be a number, a boolean, or a string of at most {MAX_STRING_LENGTH} characters",
        param=place,
    )


def _only(given: Mapping[str, Any], allowed: set[str], place: str) -> None:
    unknown = sorted(str(name) for name in set(given) - allowed)
    if unknown:
        raise InvalidInput(
            f"{place} has unknown field {unknown[0]!r}; allowed are {', '.join(sorted(allowed))}", param=place
        )


def _comparable(value: Any) -> Decimal | str | bool | None:
    if isinstance(value, bool | str):
        return value
    return Decimal(repr(value)) if isinstance(value, int | float) else None


def _order(operator: str) -> Callable[[Any, Any], bool]:
    return {
        "gt": lambda a, b: a > b,
        "gte": lambda a, b: a >= b,
        "lt": lambda a, b: a < b,
        "lte": lambda a, b: a <= b,
    }[operator]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
