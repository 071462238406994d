"""A filter as a condition on a ``jsonb`` column: the Postgres form of ``filters.matches``."""

from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from cluster.vector_index.filters import SETS, Comparison, Compound, Filter

COLUMN = sql.Identifier("attributes")
SIGNS = {"gt": sql.SQL(">"), "gte": sql.SQL(">="), "lt": sql.SQL("<"), "lte": sql.SQL("<=")}


def condition(filter: Filter) -> sql.Composable:
    """The condition; never NULL."""
    if isinstance(filter, Compound):
        joint = sql.SQL(" AND " if filter.operator == "and" else " OR ")
        return sql.SQL("({})").format(joint.join(condition(part) for part in filter.filters))
    if filter.operator in SIGNS:
        return _order(filter)
    # Containment of a scalar is equality of kind and value, and the GIN index serves it.
    among = sql.SQL(" OR ").join(_holds({filter.key: value}) for value in filter.values)
    return sql.SQL("({})" if filter.operator in {"eq", "in"} else "(NOT ({}))").format(among)


def _holds(part: dict[str, Any]) -> sql.Composable:
    return sql.SQL("{} @> {}").format(COLUMN, sql.Literal(Jsonb(part)))


def _order(filter: Comparison) -> sql.Composable:
    assert filter.operator not in SETS
    (bound,) = filter.values
    key = sql.Literal(filter.key)
    kind = "string" if isinstance(bound, str) else "number"
    # CASE, because AND does not promise to look at the kind before it casts.
    value = sql.SQL('({} ->> {}) COLLATE "C"' if kind == "string" else "({} ->> {})::numeric").format(COLUMN, key)
    return sql.SQL("(CASE jsonb_typeof({} -> {}) WHEN {} THEN {} {} {} ELSE false END)").format(
        COLUMN, key, sql.Literal(kind), value, SIGNS[filter.operator], sql.Literal(bound)
    )
