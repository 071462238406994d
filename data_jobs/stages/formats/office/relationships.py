"""Follow the relationships between the parts of an Office Open XML document.

    document = main_part(package)                       # "word/document.xml"
    relationships_of(package, document)["rId4"].part    # "word/footnotes.xml"

ECMA-376, part 2, "Open Packaging Conventions", defines relationships. Only parts inside the package are
followed; the target of an external relationship is never opened.
"""

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from cluster.records import Outcome
from data_jobs.stages.formats.contract import Unreadable
from data_jobs.stages.formats.office.package import Package
from data_jobs.stages.formats.office.xml_tree import read_tree


@dataclass(frozen=True, kw_only=True, slots=True)
class Relationship:
    """Describes one relationship of a part to another part."""

    #: The last component of the type's URI, such as "footnotes".
    kind: str
    #: Name of the target part in the package.
    part: str


def relationships_of(package: Package, part: str) -> Mapping[str, Relationship]:
    """Return the internal relationships of a part by their ids. ``part`` is "" for the package itself."""
    folder, name = posixpath.split(part)
    data = package.read_if_whole(posixpath.join(folder, "_rels", f"{name}.rels"))
    found: dict[str, Relationship] = {}
    if not data:
        return found
    for element in read_tree(data):
        if element.get("TargetMode") == "External":
            continue
        target = unquote(element.get("Target", ""))
        path = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
        kind = element.get("Type", "").rpartition("/")[2]
        found[element.get("Id", "")] = Relationship(kind=kind, part=path)
    return found


def main_part(package: Package) -> str:
    """Return the name of the part that holds the document.

    Raises:
        Unreadable: the package names no such part, or lacks the part.
    """
    for relationship in relationships_of(package, "").values():
        if relationship.kind == "officeDocument" and relationship.part in package:
            return relationship.part
    raise Unreadable(Outcome.CORRUPT, "is damaged: its main part is missing")


def parts_of(relationships: Mapping[str, Relationship], kind: str) -> Iterator[str]:
    """Yield the parts of one kind, in the order of the relationships."""
    return (found.part for found in relationships.values() if found.kind == kind)
