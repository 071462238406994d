"""Define the records of the cluster (documents, pages, chunks, outcomes), and make their ids.

document_id("default", "vs_1", "file:///a.pdf")     # "doc_...": the same on every machine and in every run
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b

from cluster.page_structure import PROSE, PageStructure


class Outcome(StrEnum):
    """The result of processing a document. Every accepted document ends with exactly one outcome."""

    #: The document was parsed, chunked, embedded and written, so it is searchable.
    OK = "ok"
    #: The document is searchable, but incomplete: a part could not be read, or the model does not know much
    #: of the text. The detail names the unread part.
    PARTIAL_TEXT = "partial_text"
    #: The document could be opened, but has no text and no pictures that could show text.
    EMPTY = "empty"
    #: The pages are pictures of text, so optical character recognition would be needed.
    NEEDS_OCR = "needs_ocr"
    #: The web page shows its text only in a browser that runs its scripts.
    NEEDS_BROWSER = "needs_browser"
    #: The document is protected by a password.
    ENCRYPTED = "encrypted"
    #: The document is damaged or cut short, so it cannot be read in its format.
    CORRUPT = "corrupt"
    #: The document is over a limit on bytes, pages, characters or memory.
    TOO_LARGE = "too_large"
    #: Parsing took longer than its limit.
    TIMEOUT = "timeout"
    #: The document has a format that no parser here reads.
    UNSUPPORTED = "unsupported"
    #: The source could not be read, for example because it vanished, permission is missing, or the storage
    #: is down.
    UNREADABLE = "unreadable"
    #: An error in this software, which the detail names. Another run may succeed.
    FAILED = "failed"

    @property
    def searchable(self) -> bool:
        """True if a search finds the text of the document, or part of it."""
        return self in SEARCHABLE

    @property
    def may_change(self) -> bool:
        """True if another attempt at the same bytes may end differently; the next run then tries again."""
        return self in {Outcome.TIMEOUT, Outcome.UNREADABLE, Outcome.FAILED, Outcome.TOO_LARGE}

    @property
    def public_error(self) -> "PublicError | None":
        """OpenAI's error code for an attached file with this outcome; None if the document is searchable."""
        return PUBLIC_ERRORS[self]


class PublicError(StrEnum):
    """The codes of OpenAI's ``vector_store.file.last_error``."""

    #: An error in this software, or an error that may not occur again.
    SERVER_ERROR = "server_error"
    #: The file has a format that no parser reads.
    UNSUPPORTED_FILE = "unsupported_file"
    #: No text of this file can be read.
    INVALID_FILE = "invalid_file"


#: The public error of each outcome; None for an outcome that is searchable.
PUBLIC_ERRORS: Mapping[Outcome, PublicError | None] = {
    Outcome.OK: None,
    Outcome.PARTIAL_TEXT: None,
    Outcome.EMPTY: PublicError.INVALID_FILE,
    Outcome.NEEDS_OCR: PublicError.INVALID_FILE,
    Outcome.NEEDS_BROWSER: PublicError.INVALID_FILE,
    Outcome.ENCRYPTED: PublicError.INVALID_FILE,
    Outcome.CORRUPT: PublicError.INVALID_FILE,
    Outcome.TOO_LARGE: PublicError.INVALID_FILE,
    Outcome.TIMEOUT: PublicError.SERVER_ERROR,
    Outcome.UNSUPPORTED: PublicError.UNSUPPORTED_FILE,
    Outcome.UNREADABLE: PublicError.SERVER_ERROR,
    Outcome.FAILED: PublicError.SERVER_ERROR,
}


def public_error(code: str | None) -> PublicError:
    """Return the public code for a failed job's error code; ``server_error`` if the code names no outcome."""
    try:
        return Outcome(code or "").public_error or PublicError.SERVER_ERROR
    except ValueError:
        return PublicError.SERVER_ERROR


#: The outcomes of documents that a search finds.
SEARCHABLE = frozenset({Outcome.OK, Outcome.PARTIAL_TEXT})


class Fact(StrEnum):
    """Names of facts about how a document was read.

    Facts are stored as attributes of the document's chunks, so filters can use them.
    """

    #: Character set with which the bytes were decoded, as Python names it.
    ENCODING = "encoding"
    #: Number of bytes that are not text in the character set ``ENCODING``; U+FFFD replaces each of these
    #: bytes.
    REPLACED_BYTES = "replaced_bytes"
    #: Number of characters that the document hides from readers (``display: none``). The parsed text leaves
    #: out hidden characters.
    HIDDEN_CHARACTERS = "hidden_characters"
    #: Number of tokens without meaning, because the model's vocabulary lacks their text.
    UNKNOWN_TOKENS = "unknown_tokens"
    #: Number of pages that could not be read; the document's detail lists them.
    UNREAD_PAGES = "unread_pages"
    #: What is wrong with a file that is not valid in its format and was therefore read as plain text.
    MALFORMED = "malformed"
    #: Language of source code, such as "Python".
    PROGRAMMING_LANGUAGE = "programming_language"
    #: Number of pages whose text was recognised in a picture of the page.
    OCR_PAGES = "ocr_pages"
    #: Mean confidence of the recognised words in percent, weighted by the length of the words.
    OCR_CONFIDENCE = "ocr_confidence"
    #: Number of sheets or slides that the document hides from readers. The parsed text leaves out hidden
    #: sheets and slides.
    HIDDEN_PAGES = "hidden_pages"
    #: ISO 639 code of the document's language: ``mul`` for several languages, ``und`` if the language is not
    #: known. Each chunk of a document in several languages has the code of its own language.
    LANGUAGE = "language"
    #: Name of the container, such as an archive or an e-mail, of which the document is an entry.
    CONTAINER = "container"
    #: Path of the document in its container.
    PATH = "path"
    #: Subject of an e-mail.
    SUBJECT = "subject"
    #: Sender of an e-mail: name and address.
    FROM = "from"
    #: Time at which an e-mail was sent, in ISO 8601 and in UTC.
    SENT = "sent"
    #: Title of a web page that was fetched for a file.
    TITLE = "title"
    #: Dates at which such a page says that it was published and modified.
    PUBLISHED = "published"
    MODIFIED = "modified"


#: The facts of one document. A string has at most ``MAX_FACT_LENGTH`` characters.
Facts = Mapping[Fact, str | float | bool]
#: Maximum length of a string attribute at OpenAI, in characters.
MAX_FACT_LENGTH = 512
#: Limits on the attributes that owners give to files and to vectors, as in OpenAI's API: the number of
#: attributes, and the characters of a name and of a string value.
MAX_ATTRIBUTES, MAX_ATTRIBUTE_NAME, MAX_ATTRIBUTE_VALUE = 16, 64, 512
#: Maximum absolute value of a number in an attribute or in a filter.
LARGEST_NUMBER = 1e300
#: Maximum number of characters of a chunk's id. Organisation, store and id must fit in an index key of
#: Postgres, which has at most 2,700 bytes.
MAX_CHUNK_ID_CHARACTERS = 512
#: Maximum number of bytes of a chunk's text. A full-text vector of Postgres has at most 1 MiB. If the words
#: of a text are short and all different, the full-text vector needs up to four bytes for each byte of the
#: text.
MAX_CHUNK_TEXT_BYTES = 256 * 1024
#: Key in ``ParsedDocument.unread`` for a part of the document that is not a page.
NO_PAGE = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One page of a parsed document; ``cluster.formats`` says what a page is in each format."""

    #: Number of the page, from 1.
    number: int
    #: The page's text. Chunks are slices of this text.
    text: str
    structure: PageStructure = PROSE


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedDocument:
    """The result of parsing one file."""

    outcome: Outcome
    #: A sentence for people: why there is no text, or which part is missing. Empty if the outcome is OK.
    detail: str
    #: Every page, including pages without text; if only a part was parsed, the pages of that part.
    pages: tuple[Page, ...]
    #: Media type by the file's bytes; the file name decides only between kinds of text.
    media_type: str
    #: Number of pages of the whole document; 0 if the document could not be opened.
    page_count: int = 0
    #: Facts about how the document was read.
    facts: Facts = field(default_factory=dict)
    #: The reasons why pages could not be read, by the number of the page, from 1. ``NO_PAGE`` is the number
    #: of a part that is not a page.
    unread: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class PageChunk:
    """A piece of one page: ``page.text[start:end] == text``."""

    #: Id of the chunk; see ``chunk_id``.
    id: str
    #: Position in the document, from 0.
    ordinal: int
    #: Page number, from 1.
    page: int
    #: Character of the page's text at which the chunk begins, from 0.
    start: int
    #: Character of the page's text before which the chunk ends (exclusive).
    end: int
    text: str
    #: Text that is embedded, searched and shown before ``text``, such as the header of the table of which the
    #: chunk has some rows. The context is not at ``start`` on the page.
    context: str = ""
    #: The model's ids for the context and the text, special tokens not included.
    token_ids: tuple[int, ...]

    @property
    def indexed_text(self) -> str:
        """The text that is stored: the context, a line end, and the text."""
        return with_context(self.context, self.text)


def with_context(context: str, text: str) -> str:
    """Return the text of a chunk behind its context; see ``PageChunk.context``."""
    return f"{context}\n{text}" if context else text


def digest(*parts: str, size: int = 16) -> str:
    """Return the hexadecimal BLAKE2b digest of the parts, ``size`` bytes long.

    The length of each part is hashed too, so ("ab", "c") and ("a", "bc") have different digests.
    """
    state = blake2b(digest_size=size)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


def document_id(organisation: str, vector_store: str, source_key: str) -> str:
    """Make the id of the document at ``source_key`` in a store. New versions of the file have the same id."""
    return "doc_" + digest(organisation, vector_store, source_key, size=12)


def vector_store_id(organisation: str, name: str) -> str:
    """Make the id of a vector store from its name; see ``stores.ensure_store``."""
    return "vs_" + digest(organisation, name, size=12)


def chunk_id(document: str, text: str, ordinal_among_equals: int, fingerprint: str) -> str:
    """Make the id of a chunk. The same arguments give the same id in every run.

    Args:
        document: id of the document.
        text: the chunk's text, with its context.
        ordinal_among_equals: 0 for the first chunk of the document with this text, 1 for the next, ...
        fingerprint: id of the model fingerprint (``Fingerprint.id``).
    """
    return "chk_" + digest(document, text, str(ordinal_among_equals), fingerprint)
