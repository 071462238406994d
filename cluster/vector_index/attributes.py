"""What a row says under which name: of its chunk and how its document was read, what we say; of its file,
what its owner says.

Filters see one flat set of attributes. The owner's win over ours of the same name, except ``file_id``; ours
stay readable.

    attributes = merged_attributes(own, {"page": "front"}, facts={"encoding": "koi8-r"}, file="file-1")      # written by the worker
    system_attributes(attributes)["page"], owner_attributes(attributes)["page"], reading_facts(attributes)["encoding"]   # 3, "front", "koi8-r"
"""

from collections.abc import Mapping
from typing import Any

#: The file a row belongs to; rows of ingested documents have none.
FILE = "file_id"
#: Where ours are kept that the owner's hide. Longer than a name of the owner's, or of a filter, may be.
HIDDEN = "what the chunk itself says under names that the attributes of its file use too"
#: Which attributes are facts; a document without facts has no such list. Longer than other names may be, too.
FACTS = "names of the attributes that say how the document was read, be they hidden or not"
#: What we say of a chunk.
OWN = frozenset({"source", "filename", "media_type", "ordinal", "page", "start", "end", "keywords", FILE})


def merged_attributes(
    own: Mapping[str, Any],
    owners: Mapping[str, Any] | None = None,
    *,
    facts: Mapping[str, Any] | None = None,
    file: str | None = None,
) -> dict[str, Any]:
    """The attributes of a row.

    Args:
        own: what we say of its chunk.
        owners: what the owner says of its file.
        facts: what is known of how its document was read.
        file: id of the attached file; None for an ingested document.
    """
    owners, facts = owners or {}, facts or {}
    said = {**facts, **own}
    hidden = {name: value for name, value in said.items() if name in owners}
    ends = {FILE: file, HIDDEN: hidden or None, FACTS: [*facts] or None}
    return {**said, **owners, **{name: value for name, value in ends.items() if value is not None}}


def with_owner_attributes(attributes: Mapping[str, Any], owners: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a row of an attached file whose owner gave it others."""
    return merged_attributes(
        system_attributes(attributes), owners, facts=reading_facts(attributes), file=attributes[FILE]
    )


def system_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What we say of the chunk."""
    return {
        name: value for name, value in {**attributes, **attributes.get(HIDDEN, {})}.items() if name in OWN
    }


def reading_facts(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of how the document was read."""
    said = {**attributes, **attributes.get(HIDDEN, {})}
    return {name: said[name] for name in attributes.get(FACTS, [])}


def owner_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What the owner says of the file; of an ingested document all that it says."""
    if FILE not in attributes:
        return {name: value for name, value in attributes.items() if name != FACTS}
    hidden, ours = attributes.get(HIDDEN, {}), OWN | {*attributes.get(FACTS, []), HIDDEN, FACTS}
    return {
        name: value
        for name, value in attributes.items()
        if (name not in ours or name in hidden) and name != FILE
    }
