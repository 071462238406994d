"""Make the path of a container's entry safe to store and to show.

entry_path("docs\\\\..\\\\a.txt")      # None: the path leaves the container
entry_path("/docs/./a.txt")         # "docs/a.txt"
is_hidden("__MACOSX/._a.txt")       # True
"""

import re

from cluster.documents.file_names import shown_name
from cluster.records import MAX_FACT_LENGTH

#: Separates the path of a container from the path of an entry inside it: ``mails.zip!/2026/a.eml``.
INSIDE = "!/"
#: Maximum number of characters of a path. A path is an attribute of the document's chunks.
LONGEST_PATH = MAX_FACT_LENGTH
DRIVE = re.compile(r"^[A-Za-z]:(?=/)")
#: Folder in which macOS keeps resource forks.
RESOURCE_FORKS = "__MACOSX"


def entry_path(path: str) -> str | None:
    """Return the path with ``/`` between its parts, without a drive, and without empty parts and ``.``; None
    if the path has no name or leaves the container.
    """
    parts = [
        shown_name(part)
        for part in DRIVE.sub("", path.replace("\\", "/")).split("/")
        if part.strip() not in {"", "."}
    ]
    if not parts or ".." in parts or not all(parts):
        return None
    return "/".join(parts)


def is_hidden(path: str) -> bool:
    """Return True if a part of the path begins with a full stop, or is the folder of resource forks of macOS.

    A listing of a folder leaves out such entries, too.
    """
    return any(part.startswith(".") or part == RESOURCE_FORKS for part in path.split("/"))


def distinct(path: str, taken: set[str]) -> str:
    """Return the path, with a number if ``taken`` has this path already. Add the result to ``taken``."""
    found, number = path, 1
    while found in taken:
        number += 1
        stem, point, suffix = path.rpartition(".")
        has_suffix = point and "/" not in suffix and stem
        found = f"{stem} ({number}).{suffix}" if has_suffix else f"{path} ({number})"
    taken.add(found)
    return found
