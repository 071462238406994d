"""SQL kept in ``.sql`` files, each statement under a head ``-- name: the_name``.

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
    """The statements of one file by name.

    Raises:
        ValueError: two statements of the file have one name.
    """
    parts = HEAD.split((files(package) / file).read_text(encoding="utf-8"))
    names, bodies = parts[1::2], parts[2::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{package}/{file}: a name stands twice")
    return MappingProxyType(
        {name: body.strip().rstrip(";") for name, body in zip(names, bodies, strict=True)}
    )
