"""The nouns of the cluster: what a document, a page and its outcome are, and how their ids are made.

document_id("default", "vs_1", "file:///a.pdf")  ->  "doc_..." the same on every machine and every run
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b


class Outcome(StrEnum):
    """What became of a document. Every document accepted ends in exactly one."""

    #: Parsed, chunked, embedded, written: searchable.
    OK = "ok"
    #: Searchable, but part of the document could not be read; the detail says which part and why.
    PARTIAL_TEXT = "partial_text"
    #: Opened, but holds no text at all (and no images that could).
    EMPTY = "empty"
    #: Pages are pictures: text would need optical character recognition.
    NEEDS_OCR = "needs_ocr"
    #: Protected by a password.
    ENCRYPTED = "encrypted"
    #: Not readable as what it claims to be.
    CORRUPT = "corrupt"
    #: Over a limit on bytes, pages, characters or memory.
    TOO_LARGE = "too_large"
    #: Parsing took longer than its limit.
    TIMEOUT = "timeout"
    #: A file type that no parser here reads.
    UNSUPPORTED = "unsupported"
    #: The source could not be read (vanished, no permission, storage down).
    UNREADABLE = "unreadable"
    #: Something of ours failed; the detail says what. Running again may help.
    FAILED = "failed"

    @property
    def searchable(self) -> bool:
        """True where the document's text, or part of it, can be found."""
        return self in SEARCHABLE

    @property
    def may_change(self) -> bool:
        """True where the same bytes may end differently next time, so that running again tries again."""
        return self in {Outcome.TIMEOUT, Outcome.UNREADABLE, Outcome.FAILED, Outcome.TOO_LARGE}


#: The outcomes of documents that can be found.
SEARCHABLE = frozenset({Outcome.OK, Outcome.PARTIAL_TEXT})


class Fact(StrEnum):
    """Names of facts about how a document was read. They are attributes of its chunks, so filters can ask for them."""

    #: Character set that the bytes were decoded with, as Python names it.
    ENCODING = "encoding"
    #: Number of bytes that are no text in that character set; each became a replacement character.
    REPLACED_BYTES = "replaced_bytes"
    #: Number of characters that the document hides from its readers (``display: none``); they are not in its text.
    HIDDEN_CHARACTERS = "hidden_characters"
    #: Number of tokens that say nothing, because the model's vocabulary does not have what they stand for.
    UNKNOWN_TOKENS = "unknown_tokens"
    #: Number of pages that could not be read; the document's detail lists them.
    UNREAD_PAGES = "unread_pages"


#: Facts of one document. A string has at most ``MAX_FACT_LENGTH`` characters.
Facts = Mapping[Fact, str | float | bool]
#: As long as OpenAI's attributes may be.
MAX_FACT_LENGTH = 512
#: In ``ParsedDocument.unread``: a part of the document that is no page.
NO_PAGE = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One page of a parsed document; a format without pages is a single page."""

    #: Counted from 1, as a person would say it.
    number: int
    #: The page's text; chunks are slices of it.
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedDocument:
    """What parsing one file gave."""

    outcome: Outcome
    #: A sentence a person understands: why there is no text, or which part of it is missing. Empty when the outcome is ok.
    detail: str
    #: Every page, those without text too; of a part of the document, that part's.
    pages: tuple[Page, ...]
    #: Media type found in the bytes, whatever the name claimed.
    media_type: str
    #: Pages of the whole document; 0 where it could not be opened.
    page_count: int = 0
    #: What was found out while reading.
    facts: Facts = field(default_factory=dict)
    #: Pages that could not be read, by number from 1 (``NO_PAGE``: another part of the document), each with the reason.
    unread: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class PageChunk:
    """A piece of one page: ``page.text[start:end] == text``."""

    #: See ``chunk_id``.
    id: str
    #: Position in the document, from 0.
    ordinal: int
    #: Page number, from 1.
    page: int
    #: Characters into the page's text where the chunk begins and ends (exclusive).
    start: int
    end: int
    text: str
    #: The model's ids for the text, special tokens not included.
    token_ids: tuple[int, ...]


def digest(*parts: str, size: int = 16) -> str:
    """Hex BLAKE2b of the parts, each kept apart from its neighbours. ``size`` in bytes."""
    state = blake2b(digest_size=size)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


def document_id(organisation: str, vector_store: str, source_key: str) -> str:
    """Id of the document at ``source_key`` in one store; a new version of the file keeps it."""
    return "doc_" + digest(organisation, vector_store, source_key, size=12)


def vector_store_id(organisation: str, name: str) -> str:
    """Id of the store that a job makes when it is asked for one by name."""
    return "vs_" + digest(organisation, name, size=12)


def chunk_id(document: str, text: str, ordinal_among_equals: int, fingerprint: str) -> str:
    """Id of a chunk: the same text in the same document under the same model is the same chunk.

    Args:
        document: id of the document.
        text: the chunk's text.
        ordinal_among_equals: 0 for the first chunk of the document with this text, 1 for the next, ...
        fingerprint: id of the model fingerprint (``Fingerprint.id``).
    """
    return "chk_" + digest(document, text, str(ordinal_among_equals), fingerprint)
