"""Damage documents in the ways in which real files are damaged, and in which attackers craft them."""

import random
import struct
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile

from cluster.records import Outcome

#: Outcomes of a file that nobody can read as its type any more.
DAMAGED = frozenset({Outcome.CORRUPT, Outcome.UNSUPPORTED, Outcome.EMPTY})
#: Outcomes of a file of which a part may be damaged.
ANY = DAMAGED | {Outcome.OK, Outcome.PARTIAL_TEXT, Outcome.ENCRYPTED, Outcome.TOO_LARGE}
TOO_LARGE, CORRUPT = frozenset({Outcome.TOO_LARGE}), frozenset({Outcome.CORRUPT})
MIB = 1024 * 1024
ENTITY = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
LAUGHS = "<!DOCTYPE a [<!ENTITY a0 'ha'>" + "".join(
    f"<!ENTITY a{level} '{f'&a{level - 1};' * 10}'>" for level in range(1, 12)
)

Mutation = tuple[str, bytes, frozenset[Outcome]]


def damaged_archives(data: bytes, main: str) -> Iterator[Mutation]:
    """Yield the name of each mutation of a ZIP archive, its bytes, and the outcomes that are right.

    Args:
        data: a document.
        main: name of its main part.
    """
    for share in (0.1, 0.5, 0.9):
        yield f"cut at {share}", data[: int(len(data) * share)], DAMAGED
    yield "without its last byte", data[:-1], ANY
    for seed in range(6):
        yield f"flipped bytes {seed}", flipped(data, seed), ANY
    middle = len(data) // 2
    yield "zeros in the middle", data[: middle - 40] + bytes(80) + data[middle + 40 :], ANY
    yield "without its directory", data[: data.rfind(b"PK\x01\x02")], DAMAGED
    yield "junk after its end", data + bytes(1000), ANY
    yield "main part missing", repacked(data, lambda name: name != main), CORRUPT
    yield "main part empty", replaced(data, main, b""), CORRUPT
    yield "main part random", replaced(data, main, random.Random(1).randbytes(2000)), CORRUPT
    yield "main part cut", replaced(data, main, part(data, main)[:-20]), CORRUPT
    yield "external entity", replaced(data, main, f"{ENTITY}<a>&x;</a>".encode()), CORRUPT
    yield "billion laughs", replaced(data, main, f"{LAUGHS}]><a>&a11;</a>".encode()), CORRUPT
    yield "UTF-16 with an entity", replaced(data, main, f"{ENTITY}<a>&x;</a>".encode("utf-16")), CORRUPT
    yield "deep nesting", replaced(data, main, b"<a>" * 20_000), CORRUPT
    yield "a bomb", data_with_bomb(data, main), TOO_LARGE
    yield "many parts", data + b"PK\x01\x02" * 50_001, TOO_LARGE
    yield "encrypted part", with_flag(data, main), frozenset({Outcome.ENCRYPTED})
    yield "path outside", replaced(data, "../../../etc/passwd", b"x"), ANY
    yield "main part twice", twice(data, main), ANY


def damaged_rich_text(data: bytes) -> Iterator[Mutation]:
    """Yield the mutations of Rich Text Format."""
    partial = ANY - {Outcome.CORRUPT}
    for share in (0.05, 0.3, 0.6, 0.9):
        yield f"cut at {share}", data[: int(len(data) * share)], ANY
    for seed in range(6):
        yield f"flipped bytes {seed}", flipped(data, seed), ANY
    start = b"{\\rtf1\\ansi "
    yield "deep groups", start + b"{" * 10_000, ANY
    yield "endless groups", start + b"{}" * 50_000 + b"text}", partial
    yield "huge numbers", start + rb"\u99999999999 \f-999999999 \s9999999999 text\par}", partial
    yield "binary beyond the end", start + rb"text{\pict\bin2000000000 x}}", partial
    yield "negative binary", start + rb"text\bin-5 x\par}", partial
    yield "many replaced characters", start + rb"\uc1000000000 \u233 text\par text}", ANY
    yield "unknown code page", start + rb"\ansicpg99999 text\par}", partial
    yield "lone surrogates", start + rb"\u-10240?text\u-9216?\par}", partial
    yield "many cells", start + rb"\trowd\intbl " + rb"\cell" * 20_000 + rb" x\cell\row\pard x\par}", partial
    yield (
        "one long row and many short ones",
        start + rb"x\cell" * 2000 + rb"\row" + rb"x\cell\row" * 50_000,
        ANY,
    )
    yield "many notes", start + rb"x{\footnote y}" * 10_000 + b"}", partial
    yield "many embedded objects", start + rb"x{\object{\*\objdata 0105}}" * 10_000 + b"}", partial


def flipped(data: bytes, seed: int) -> bytes:
    """Change thirty bytes."""
    choose, changed = random.Random(seed), bytearray(data)
    for _ in range(30):
        changed[choose.randrange(len(changed))] ^= 1 << choose.randrange(8)
    return bytes(changed)


def part(data: bytes, name: str) -> bytes:
    """A part of an archive."""
    with ZipFile(BytesIO(data)) as archive:
        return archive.read(name)


def repacked(data: bytes, keep: Callable[[str], bool], extra: Mapping[str, bytes] | None = None) -> bytes:
    """Pack some parts of an archive again, and further parts."""
    packed = BytesIO()
    with ZipFile(BytesIO(data)) as archive, ZipFile(packed, "w", ZIP_DEFLATED) as output:
        for info in archive.infolist():
            if keep(info.filename):
                output.writestr(info, archive.read(info))
        for name, content in (extra or {}).items():
            output.writestr(name, content)
    return packed.getvalue()


def replaced(data: bytes, name: str, content: bytes) -> bytes:
    """Replace a part, or add it."""
    return repacked(data, lambda other: other != name, {name: content})


def twice(data: bytes, name: str) -> bytes:
    """Pack a part twice under the same name."""
    packed = BytesIO(data)
    with ZipFile(packed, "a", ZIP_DEFLATED) as archive:
        archive.writestr(name, part(data, name))
    return packed.getvalue()


@cache
def bomb() -> bytes:
    """A part of 16 MiB that shrinks a thousand times."""
    return b"<a>" + b" " * (16 * MIB) + b"</a>"


def data_with_bomb(data: bytes, main: str) -> bytes:
    """Replace a part by a bomb."""
    return replaced(data, main, bomb())


def with_flag(data: bytes, name: str) -> bytes:
    """Mark a part as encrypted, in the directory and in the header of the part."""
    changed = bytearray(data)
    encoded = name.encode()
    for mark, flags, at in ((b"PK\x01\x02", 8, 46), (b"PK\x03\x04", 6, 30)):
        position = changed.find(mark)
        while position >= 0:
            if changed[position + at : position + at + len(encoded)] == encoded:
                (value,) = struct.unpack_from("<H", changed, position + flags)
                struct.pack_into("<H", changed, position + flags, value | 1)
            position = changed.find(mark, position + 4)
    return bytes(changed)
