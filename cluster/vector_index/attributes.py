"""What a row of an attached file says under which name: of its chunk, what we say; of its file, what its owner says.

Filters see one flat set of attributes. The owner's win over ours of the same name, except ``file_id``; ours stay readable.

    attributes = joined(own, {"page": "front"}, file="file-1")      # written by the worker
    own_of(attributes)["page"], owners_of(attributes)["page"]       # 3, "front"
"""

from collections.abc import Mapping
from typing import Any

#: The file a row belongs to; rows of ingested documents have none.
FILE = "file_id"
#: Where ours are kept that the owner's hide. Longer than a name of the owner's, or of a filter, may be.
HIDDEN = "what the chunk itself says under names that the attributes of its file use too"
#: What we say of a chunk.
OWN = frozenset({"source", "filename", "media_type", "ordinal", "page", "start", "end", "keywords", FILE})


def joined(own: Mapping[str, Any], owners: Mapping[str, Any], *, file: str) -> dict[str, Any]:
    """The attributes of a row, of what we say of its chunk and what the owner says of its file."""
    hidden = {name: value for name, value in own.items() if name in owners}
    return {**own, **owners, FILE: file, **({HIDDEN: hidden} if hidden else {})}


def own_of(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What we say of the chunk."""
    own = {name: value for name, value in attributes.items() if name in OWN}
    return {**own, **attributes.get(HIDDEN, {})}


def owners_of(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What the owner says of the file; of an ingested document all that it says."""
    if FILE not in attributes:
        return dict(attributes)
    hidden = attributes.get(HIDDEN, {})
    return {name: value for name, value in attributes.items() if (name not in OWN or name in hidden) and name not in {HIDDEN, FILE}}
