"""Convert filters to SQL conditions on a ``jsonb`` column.

A condition selects exactly the rows for whose attributes ``filters.matches`` returns True.
"""

from decimal import Decimal
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from cluster.vector_index.filters import Comparison, Compound, Filter

COLUMN = sql.Identifier("attributes")
SIGNS = {"gt": sql.SQL(">"), "gte": sql.SQL(">="), "lt": sql.SQL("<"), "lte": sql.SQL("<=")}


def condition(filter: Filter, values: dict[str, Any]) -> sql.Composable:
    """Return the condition of a filter on the column ``attributes``. The condition is never NULL.

    Args:
        values: the named values of the statement; the filter's values are added to this dictionary.
    """
    if isinstance(filter, Compound):
        joint = sql.SQL(" AND " if filter.operator == "and" else " OR ")
        return sql.SQL("({})").format(joint.join(condition(part, values) for part in filter.filters))
    if filter.operator in SIGNS:
        return _order(filter, values)
    # ``@>`` is true for a scalar of the same kind and value. The GIN index supports ``@>``.
    among = _value([Jsonb({filter.key: value}) for value in filter.values], values)
    return sql.SQL(
        "({} @> ANY({}::jsonb[]))" if filter.operator in {"eq", "in"} else "(NOT {} @> ANY({}::jsonb[]))"
    ).format(COLUMN, among)


def _order(filter: Comparison, values: dict[str, Any]) -> sql.Composable:
    (bound,) = filter.values
    key = sql.SQL("{}::text").format(_value(filter.key, values))
    if isinstance(bound, str):
        kind, compared, limit = "string", '({} ->> {}) COLLATE "C"', "{}::text"
    else:
        kind, compared, limit = "number", "({} ->> {})::numeric", "{}::numeric"
    # CASE checks the kind before the cast. With AND, Postgres may cast first and fail.
    return sql.SQL("(CASE jsonb_typeof({} -> {}) WHEN {} THEN {} {} {} ELSE false END)").format(
        COLUMN,
        key,
        sql.Literal(kind),
        sql.SQL(compared).format(COLUMN, key),
        SIGNS[filter.operator],
        # Send a float as the decimal number in the JSON text, because Postgres rounds floats to 15 digits.
        sql.SQL(limit).format(_value(Decimal(repr(bound)) if isinstance(bound, float) else bound, values)),
    )


def _value(value: Any, values: dict[str, Any]) -> sql.Placeholder:
    name = f"filter_{len(values)}"
    values[name] = value
    return sql.Placeholder(name)
