"""Lists, counts and exports the customers of a segment with their profiles.

list_members(connection, "acme", segment, PageRequest(limit=20))
export_members(connection, "acme", segment, file)         # Parquet
"""

from collections.abc import Sequence
from typing import Any, BinaryIO

import pyarrow as pa
from psycopg import Connection
from psycopg.sql import SQL as Statement
from psycopg.sql import Composable

from cluster.database.paging import ListPage, ListStatements, PageRequest, read_page
from cluster.database.queries import queries
from cluster.profiles.profiles import CustomerProfileRow
from cluster.profiles.segments import Segment
from cluster.vector_index.filter_sql import condition

SQL = queries("cluster.profiles", "members.sql")
#: Maximum number of customers in a row group of a Parquet file. The export holds one row group at a time in
#: memory.
ROW_GROUP = 5_000
#: Type of a Parquet column, by the JSON type of its values. A column with values of several types is text.
COLUMN_TYPES = {"number": pa.float64(), "boolean": pa.bool_(), "string": pa.string()}


def list_members(
    connection: Connection[Any], organisation: str, segment: Segment, page: PageRequest
) -> ListPage[CustomerProfileRow]:
    """Return one page of the profiles in the segment, ordered by the creation time of their customers."""
    values, where = _condition(organisation, segment)
    lists = ListStatements(
        newest=_statement(connection, "newest", where),
        oldest=_statement(connection, "oldest", where),
        places=SQL["places"],
    )
    found = read_page(connection, lists, values, page)
    return ListPage(items=[CustomerProfileRow(**row) for row in found.items], has_more=found.has_more)


def count_members(connection: Connection[Any], organisation: str, segment: Segment) -> int:
    """Return the number of customers in the segment."""
    values, where = _condition(organisation, segment)
    row = connection.execute(Statement(SQL["count"]).format(filter=where), values).fetchone()
    return row[0] if row else 0


def export_members(connection: Connection[Any], organisation: str, segment: Segment, file: BinaryIO) -> int:
    """Write the profiles of the segment to a Parquet file, one row for each customer in order of their ids.
    Return the number of rows.

    The columns are ``customer``, ``external_id``, ``computed_at``, and one for each attribute. If a
    customer does not have an attribute, the cell is null. Lists and objects, such as ``hours_of_week``, are
    not exported.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415  takes 0.3 s, and replicas that export nothing do not load it

    values, where = _condition(organisation, segment)
    rows = 0
    with connection.transaction():
        found = connection.execute(Statement(SQL["columns"]).format(filter=where), values).fetchall()
        schema = _schema(found)
        with (
            pq.ParquetWriter(file, schema, compression="zstd") as writer,
            connection.cursor(name="members") as cursor,
        ):
            cursor.execute(Statement(SQL["export"]).format(filter=where), values)
            while part := cursor.fetchmany(ROW_GROUP):
                writer.write_table(_table(part, schema), row_group_size=ROW_GROUP)
                rows += len(part)
    return rows


def _schema(columns: Sequence[tuple[str, Sequence[str]]]) -> pa.Schema:
    fixed = [
        pa.field("customer", pa.string(), nullable=False),
        pa.field("external_id", pa.string(), nullable=False),
        pa.field("computed_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
    return pa.schema(
        fixed
        + [
            pa.field(name, COLUMN_TYPES[types[0]] if len(types) == 1 else pa.string())
            for name, types in columns
        ]
    )


def _table(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns: dict[str, list[Any]] = {
        "customer": [row[0] for row in rows],
        "external_id": [row[1] for row in rows],
        "computed_at": [row[2] for row in rows],
    }
    for field in list(schema)[3:]:
        columns[field.name] = [_cell(row[3].get(field.name), field.type) for row in rows]
    return pa.table(columns, schema=schema)


def _cell(value: Any, type: pa.DataType) -> Any:
    """Return the value in the type of its column. A value that was written in another type after the types of
    the columns were read becomes text in a column of text, and null in other columns.
    """
    if type == pa.string():
        return None if value is None else str(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if type == pa.float64():
        return float(value) if number else None
    return value if isinstance(value, bool) else None


def _condition(organisation: str, segment: Segment) -> tuple[dict[str, Any], Composable]:
    """Return the parameters of the statements, and the condition of the segment as SQL; ``true`` if the
    segment has no filter.
    """
    values: dict[str, Any] = {"organisation": organisation}
    filter = segment.filter
    return values, Statement("true") if filter is None else condition(filter, values)


def _statement(connection: Connection[Any], name: str, where: Composable) -> str:
    return Statement(SQL[name]).format(filter=where).as_string(connection)
