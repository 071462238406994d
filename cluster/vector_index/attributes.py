"""The attributes of a chunk: three groups of names and values in one flat mapping that filters can use.

- System attributes describe the chunk: its source, its page, its keywords, and its place (``ChunkPlace``).
- Facts describe how the document was read: its encoding, its unread pages, ...
- Owner attributes are the attributes that the owner gave to the attached file.

If names are equal, the owner's value hides the other values, except for ``file_id``. Hidden values are kept,
so each group can be read back:

    facts = {"encoding": "koi8-r"}
    attributes = merged_attributes({"page": 3}, {"page": "front"}, facts=facts, file="file-1")
    system_attributes(attributes)["page"]       # 3
    owner_attributes(attributes)["page"]        # "front"
    reading_facts(attributes)["encoding"]       # "koi8-r"
"""

from collections.abc import Mapping
from typing import Any

from cluster.page_structure import PLACE_NAMES

#: Name of the attribute with the id of the attached file; chunks of ingested documents do not have this
#: attribute.
FILE = "file_id"
#: Key of the system attributes and facts that owner attributes hide. No name in owner attributes or filters
#: equals this key, because the key is longer than the maximum length of these names.
HIDDEN = "what the chunk itself says under names that the attributes of its file use too"
#: Key of the list with the names of facts. Documents without facts have no such list. This key, too, is
#: longer than the maximum length of names.
FACTS = "names of the attributes that say how the document was read, be they hidden or not"
#: Name of the attribute with the number of characters of the chunk's context, including the line end after
#: the context. The stored text of the chunk begins with these characters; see ``PageChunk.context``. A chunk
#: without context does not have this attribute.
CONTEXT_CHARACTERS = "context_characters"
#: Names of system attributes that only some chunks have.
SOME_CHUNKS = (*PLACE_NAMES, CONTEXT_CHARACTERS)
#: Key of a list with names from ``SOME_CHUNKS``: the names that are system attributes of this chunk. Chunks
#: that an older release wrote have no such list, so their owner attributes can have these names. This key,
#: too, is longer than the maximum length of names.
LISTED = "names of the system attributes that this chunk has, of those that only some chunks have"
#: Names of the system attributes that every chunk of a document has.
SYSTEM = frozenset({"source", "filename", "media_type", "ordinal", "page", "start", "end", "keywords", FILE})


def merged_attributes(
    own: Mapping[str, Any],
    owners: Mapping[str, Any] | None = None,
    *,
    facts: Mapping[str, Any] | None = None,
    file: str | None = None,
) -> dict[str, Any]:
    """Merge all attributes of a chunk into one mapping.

    Args:
        own: the system attributes of the chunk.
        owners: the owner attributes of the chunk's file.
        facts: facts about how the document was read.
        file: id of the attached file; None for an ingested document.
    """
    owners, facts = owners or {}, facts or {}
    ours = {**facts, **own}
    hidden = {name: value for name, value in ours.items() if name in owners}
    listed = [name for name in SOME_CHUNKS if name in own]
    ends = {FILE: file, HIDDEN: hidden or None, FACTS: [*facts] or None, LISTED: listed or None}
    return {**ours, **owners, **{name: value for name, value in ends.items() if value is not None}}


def with_owner_attributes(attributes: Mapping[str, Any], owners: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an attached file's chunk, with ``owners`` as the new owner attributes."""
    return merged_attributes(
        system_attributes(attributes), owners, facts=reading_facts(attributes), file=attributes[FILE]
    )


def system_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the system attributes of a chunk, including hidden attributes."""
    names = SYSTEM.union(attributes.get(LISTED, ()))
    ours = {**attributes, **attributes.get(HIDDEN, {})}
    return {name: value for name, value in ours.items() if name in names}


def reading_facts(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts about how the document was read, including hidden facts."""
    ours = {**attributes, **attributes.get(HIDDEN, {})}
    return {name: ours[name] for name in attributes.get(FACTS, [])}


def owner_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the owner attributes of an attached file's chunk, or all attributes of an ingested document's
    chunk.
    """
    if FILE not in attributes:
        return {name: value for name, value in attributes.items() if name not in (FACTS, LISTED)}
    listed = {*attributes.get(FACTS, []), *attributes.get(LISTED, [])}
    hidden, ours = attributes.get(HIDDEN, {}), SYSTEM | listed | {HIDDEN, FACTS, LISTED}
    return {
        name: value
        for name, value in attributes.items()
        if (name not in ours or name in hidden) and name != FILE
    }


def page_text(text: str, attributes: Mapping[str, Any]) -> str:
    """Return the stored text of a chunk without its context. This is exactly the text of the page between the
    attributes ``start`` and ``end``.
    """
    return text[_context_length(attributes) :]


def context_of(text: str, attributes: Mapping[str, Any]) -> str:
    """Return the context of a chunk; "" if the chunk has none."""
    return text[: _context_length(attributes)].rstrip("\n")


def _context_length(attributes: Mapping[str, Any]) -> int:
    """Return the number of characters before the text of the page. A value that is no number counts as 0,
    because attributes may come from a file that another program wrote.
    """
    length = system_attributes(attributes).get(CONTEXT_CHARACTERS, 0)
    return max(0, length) if type(length) is int else 0
