"""What a format makes of a document's bytes: the text of its pages, what could not be read, and what was found out on the way."""

from dataclasses import dataclass, field

from cluster.records import Fact


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """A document as it was read."""

    #: A text for each page; "" for a page without.
    pages: list[str]
    #: Pages of the whole document, where only some were asked for; None: those of ``pages`` are all.
    page_count: int | None = None
    facts: dict[Fact, str | float | bool] = field(default_factory=dict)
    #: See ``ParsedDocument.unread``. A reason is a predicate: "is damaged", "ends early: a tag is never closed".
    unread: dict[int, str] = field(default_factory=dict)
