"""Check chunks before they are written. Chunks that Postgres would refuse during the write are refused here.

    rows = accepted(chunks, collection, vectors_needed=True)

The error of this module has the ids of the refused chunks, so the caller can name them. An error of Postgres
has at most a line number of the copy.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from psycopg.types.json import Jsonb

from cluster.errors import InvalidInput
from cluster.records import MAX_CHUNK_ID_CHARACTERS, MAX_CHUNK_TEXT_BYTES
from cluster.vector_index.collections import Collection
from cluster.vector_index.text_configurations import text_configuration
from cluster.vector_index.vectors import vector_faults


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkRecord:
    """A chunk in the form that is stored: its text, its attributes, and its vector."""

    id: str
    #: Id of the document that the chunk belongs to.
    document: str
    text: str
    #: JSON values that filters can compare and that search hits show: source, page, start, end, keywords, ...
    attributes: Mapping[str, Any]
    #: (dim,) float32; None for a chunk that is stored already and keeps its vector, or that was read without
    #: its vector.
    vector: NDArray[np.float32] | None


#: The values of a row for ``COPY``: id, document, text, attributes, text search configuration, and vector,
#: (dim,) float32 or None.
Accepted = tuple[str, str, str, Jsonb, str, NDArray[np.float32] | None]

#: Maximum number of rows per transaction. Larger transactions are not faster and hold their locks longer.
ROWS_PER_TRANSACTION = 1_000
#: Matches an escaped NUL character in JSON. The last backslash begins the escape only if the number of
#: backslashes is odd.
JSON_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")

T = TypeVar("T")


def accepted(rows: Sequence[ChunkRecord], collection: Collection, *, vectors_needed: bool) -> list[Accepted]:
    """Return the rows in the form for ``COPY``, ordered by id. If several rows have the same id, only the
    last of these rows is returned.

    Raises:
        InvalidInput: some rows cannot be stored, or no search could find them. The error has the ids of all
            such rows in ``row_ids``. Reasons are a missing vector; a vector with another dimension, with NaN,
            or with length zero under cosine; an id that is empty or too long; a text that is too long or has
            NUL; attributes that are not JSON.
    """
    distinct = sorted({row.id: row for row in rows}.values(), key=lambda row: row.id)
    found: list[Accepted] = []
    faults: dict[str, str] = {}
    for part in batches(distinct, ROWS_PER_TRANSACTION):
        vectors = _vectors(part, collection, vectors_needed, faults)
        for row in part:
            try:
                found.append(
                    (
                        _name(row.id),
                        _name(row.document),
                        _text(row.text),
                        _json(row),
                        text_configuration(row.text, row.attributes),
                        vectors.get(row.id),
                    )
                )
            except ValueError as exc:
                faults[row.id] = str(exc)
    if faults:
        id, fault = next(iter(faults.items()))
        raise InvalidInput(
            f"{len(faults)} of {len(distinct)} rows refused; row {id!r} {fault}", row_ids=list(faults)
        )
    return found


def batches(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the rows in lists of ``size``; the last list may be shorter."""
    iterator = iter(rows)
    while batch := list(islice(iterator, size)):
        yield batch


def is_text(text: str) -> bool:
    """True if Postgres can store the text: it has no NUL and no half of a surrogate pair. JSON can contain
    such a half, but UTF-8 cannot.
    """
    try:
        return "\0" not in text and (text.isascii() or bool(text.encode()))
    except UnicodeEncodeError:
        return False


def _vectors(
    rows: Sequence[ChunkRecord], collection: Collection, needed: bool, faults: dict[str, str]
) -> dict[str, NDArray[np.float32]]:
    given: dict[str, NDArray[np.float32]] = {}
    for row in rows:
        if row.vector is None:
            if needed:
                faults[row.id] = "has no vector"
        elif row.vector.shape != (collection.dim,):
            faults[row.id] = f"has a vector of shape {row.vector.shape}, not ({collection.dim},)"
        else:
            given[row.id] = row.vector
    if not given:
        return {}
    with np.errstate(over="ignore"):
        matrix = np.stack(list(given.values())).astype(np.float32, copy=False)
    found = vector_faults(matrix, collection.metric)
    faults.update({id: fault for id, fault in zip(given, found, strict=True) if fault})
    return dict(zip(given, matrix, strict=True))


def _name(name: str) -> str:
    if not 0 < len(name) <= MAX_CHUNK_ID_CHARACTERS:
        raise ValueError(
            f"has an id or document of {len(name)} characters; 1 to {MAX_CHUNK_ID_CHARACTERS} are possible"
        )
    return _text(name)


def _text(text: str) -> str:
    if not is_text(text):
        raise ValueError("has a NUL character or half a surrogate pair, which Postgres does not store")
    if len(text) * 4 > MAX_CHUNK_TEXT_BYTES and len(text.encode()) > MAX_CHUNK_TEXT_BYTES:
        raise ValueError(f"has a text longer than {MAX_CHUNK_TEXT_BYTES} bytes: cut it")
    return text


def _json(row: ChunkRecord) -> Jsonb:
    try:
        text = json.dumps(dict(row.attributes), allow_nan=False, ensure_ascii=False)
        encoded = text.encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise ValueError(f"has attributes that are not JSON: {exc}") from exc
    if JSON_NUL.search(text):
        raise ValueError("has a NUL character in its attributes, which Postgres does not store")
    return Jsonb(encoded, dumps=_as_it_is)


def _as_it_is(encoded: bytes) -> bytes:
    return encoded
