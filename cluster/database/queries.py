"""Reads SQL statements from ``.sql`` files. A line ``-- name: the_name`` comes before each statement.

SQL = queries("cluster.documents", "documents.sql")
connection.execute(SQL["record_failure"], {...})
"""

import re
from functools import cache
from importlib.resources import files
from types import MappingProxyType

HEAD = re.compile(r"^-- name: (\w+)[^\n]*$", re.MULTILINE)


@cache
def queries(package: str, file: str) -> MappingProxyType[str, str]:
    """Return the statements of one file as a mapping from name to statement.

    Raises:
        ValueError: two statements of the file have the same name.
    """
    parts = HEAD.split((files(package) / file).read_text(encoding="utf-8"))
    names, bodies = parts[1::2], parts[2::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{package}/{file}: two statements have the same name")
    return MappingProxyType(
        {name: body.strip().rstrip(";") for name, body in zip(names, bodies, strict=True)}
    )
