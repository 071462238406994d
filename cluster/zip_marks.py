"""Find out which kind of document a ZIP file is: Word, Excel and PowerPoint files, OpenDocument files and
e-books are all ZIP files.

    zip_type(data)     # "application/epub+zip"; "" for any other ZIP file

``file_beginning`` calls ``zip_type`` for each file that begins like a ZIP file. An e-book and an OpenDocument
file name their type in an entry ``mimetype`` (EPUB OCF 3.3, section 4.3; OpenDocument 1.3, part 2, section
3.3). The formats of Office are recognised by the names of their entries (ECMA-376, part 2).

The names are read from the directory at the end of the file. If only the beginning of a file is given, the
names are read from the headers of the first entries. The bytes may be hostile, so all work has a limit.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from itertools import islice

LOCAL_MARK, DIRECTORY_MARK, END_MARK = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
#: Header of an entry, before its name: mark, version, flags, method, time, date, checksum, packed size, size,
#: length of the name, length of the extra field.
LOCAL_HEADER = struct.Struct("<4s5H3L2H")
#: Header of an entry in the directory, before its name: mark, two versions, flags, method, time, date,
#: checksum, packed size, size, lengths of name, extra field and comment, disk, two attributes, position of
#: the entry.
DIRECTORY_HEADER = struct.Struct("<4s6H3L5H2L")
#: Record at the end of the file: mark, two disks, two counts of entries, size and position of the directory,
#: length of the comment.
END_RECORD = struct.Struct("<4s4H2LH")
MAX_COMMENT = 65_535
STORED, DEFLATED = 0, 8
#: Flag of an entry whose sizes follow after its bytes.
SIZES_FOLLOW = 8
#: Value of a size field if the size needs 64 bits. The extra field then has the size.
IN_EXTRA_FIELD = 0xFFFFFFFF
#: Maximum length of the record with the sizes, between the bytes of an entry and the next header.
MAX_SIZES_RECORD = 24
#: Maximum number of entries whose names are read.
MAX_ENTRIES = 10_000
#: Maximum number of bytes that are unpacked to find the ends of entries.
MAX_UNPACKED = 1024 * 1024
#: Maximum length of a media type.
MAX_TYPE = 128
MEDIA_TYPE = re.compile(rb"\s*(application/[\w.+-]+)\s*")

OFFICE = "application/vnd.openxmlformats-officedocument."
WORD, EXCEL, POWERPOINT = (
    OFFICE + "wordprocessingml.document",
    OFFICE + "spreadsheetml.sheet",
    OFFICE + "presentationml.presentation",
)
#: A workbook of Excel whose sheets are not XML.
BINARY_EXCEL = "application/vnd.ms-excel.sheet.binary.macroenabled.12"
EPUB = "application/epub+zip"
TYPE_NAME, EPUB_NAME, CONTENT_TYPES_NAME = "mimetype", "meta-inf/container.xml", "[content_types].xml"
#: Patterns for the entry names of each format of Office, with the media type of the format. The first pattern
#: that matches an entry decides.
OFFICE_PARTS = (
    (re.compile(r"word/.+\.(?:xml|rels)"), WORD),
    (re.compile(r"xl/workbook\.bin"), BINARY_EXCEL),
    (re.compile(r"xl/.+\.(?:xml|rels)"), EXCEL),
    (re.compile(r"ppt/.+\.(?:xml|rels)"), POWERPOINT),
)


def zip_type(data: bytes) -> str:
    """Return the media type of the document that the ZIP file is; "" for any other ZIP file.

    Args:
        data: the whole file or its beginning. For a beginning, the result can be "" although the file is a
            document, because the names of the first entries are not enough to recognise the type.
    """
    entries = _directory(data)
    is_whole = entries is not None
    if entries is None:
        entries = dict(islice(_first_entries(data), MAX_ENTRIES))
    if TYPE_NAME in entries and (named := _named_type(data, entries[TYPE_NAME])):
        return named
    if EPUB_NAME in entries:
        return EPUB
    if is_whole and CONTENT_TYPES_NAME not in entries:
        return ""
    return next((type for part, type in OFFICE_PARTS if any(map(part.fullmatch, entries))), "")


def _directory(data: bytes) -> dict[str, int] | None:
    """Return the position of each entry by its name, as the directory says; None if ``data`` does not end
    with a directory that has entries.
    """
    end = data.rfind(END_MARK, max(0, len(data) - END_RECORD.size - MAX_COMMENT))
    if end < 0 or end + END_RECORD.size > len(data):
        return None
    *_, size, start, comment = END_RECORD.unpack_from(data, end)
    if end + END_RECORD.size + comment != len(data):
        return None  # ``data`` is a beginning, and this record is the end of an archive inside this archive
    position, entries = end - size, dict[str, int]()
    before = position - start  # number of bytes before the archive, which the positions do not count
    while len(entries) < MAX_ENTRIES and 0 <= position <= end - DIRECTORY_HEADER.size:
        mark, *_, name_length, extra, comment, _, _, _, place = DIRECTORY_HEADER.unpack_from(data, position)
        if mark != DIRECTORY_MARK:
            break
        name = position + DIRECTORY_HEADER.size
        entries[_name(data[name : name + name_length])] = before + place
        position = name + name_length + extra + comment
    return entries or None


def _first_entries(data: bytes) -> Iterator[tuple[str, int]]:
    """Yield the names and the positions of the entries from the start of the file, until the position of the
    next entry is unknown.
    """
    position: int | None = 0
    unpackable = MAX_UNPACKED
    while position is not None and data.startswith(LOCAL_MARK, position):
        if position + LOCAL_HEADER.size > len(data):
            return
        _, _, flags, method, _, _, _, packed, _, name_length, extra = LOCAL_HEADER.unpack_from(data, position)
        name = position + LOCAL_HEADER.size
        start = name + name_length + extra
        if name + name_length > len(data):
            return
        yield _name(data[name : name + name_length]), position
        if packed != IN_EXTRA_FIELD and not flags & SIZES_FOLLOW:
            position = start + packed
        elif method == DEFLATED:
            position, unpackable = _end_of_deflated(data, start, unpackable)
        else:
            return


def _end_of_deflated(data: bytes, start: int, unpackable: int) -> tuple[int | None, int]:
    """Unpack an entry to find its end. Return the position of the next header, or None if this position is
    unknown; and the number of bytes that may still be unpacked.
    """
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        unpackable -= len(unpacker.decompress(data[start:], max_length=max(1, unpackable)))
    except zlib.error:
        return None, unpackable
    if not unpacker.eof:
        return None, unpackable
    end = len(data) - len(unpacker.unused_data)
    following = data.find(LOCAL_MARK, end, end + MAX_SIZES_RECORD + len(LOCAL_MARK))
    return (following if following >= 0 else None), unpackable


def _named_type(data: bytes, position: int) -> str:
    """Return the media type that the entry ``mimetype`` names; "" if the entry names none."""
    if not 0 <= position <= len(data) - LOCAL_HEADER.size:
        return ""
    mark, _, _, method, *_, packed, _, name_length, extra = LOCAL_HEADER.unpack_from(data, position)
    start = position + LOCAL_HEADER.size + name_length + extra
    if mark != LOCAL_MARK or start > len(data):
        return ""
    content = data[start : start + min(packed, MAX_TYPE)]
    if method == DEFLATED:
        try:
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[start:], max_length=MAX_TYPE)
        except zlib.error:
            return ""
    found = MEDIA_TYPE.fullmatch(content)
    return found[1].decode("ascii") if found else ""


def _name(name: bytes) -> str:
    """Return the name of an entry in one notation: lower case, with slashes."""
    return name.decode("utf-8", "replace").replace("\\", "/").lstrip("/").lower()
