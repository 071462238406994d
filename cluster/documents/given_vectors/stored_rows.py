"""Turn checked rows of given vectors into chunks. Each row is its own document, and searches show the id of
the row as the file.

    chunk_records(rows)                              # for an index outside our Postgres
    accepted_rows(rows)                              # for ``chunk_store.merge``
    new_rows("acme", "vs_1", rows)                   # for ``chunk_store.insert_new``
"""

from collections.abc import Mapping
from typing import Any

import orjson
from psycopg.types.json import Jsonb

from cluster.documents.chunks.binary_copy import binary_rows
from cluster.documents.chunks.chunk_rows import Accepted, ChunkRecord
from cluster.documents.given_vectors.given_rows import GivenRows
from cluster.vector_index.attributes import FILE, SYSTEM, merged_attributes
from cluster.vector_index.text_configurations import text_configuration


def chunk_records(rows: GivenRows) -> list[ChunkRecord]:
    """Return the chunks to store for the rows."""
    return [
        ChunkRecord(
            id=id,
            document=id,
            text=text,
            attributes=_stored_attributes(id, attributes),
            vector=vector,
        )
        for id, text, attributes, vector in zip(
            rows.ids, rows.texts, rows.attributes, rows.vectors, strict=True
        )
    ]


def accepted_rows(rows: GivenRows) -> list[Accepted]:
    """Return the chunks of the rows in the form that ``COPY`` needs, ordered by id."""
    return [
        (
            record.id,
            record.id,
            record.text,
            Jsonb(orjson.dumps(record.attributes), dumps=bytes),
            text_configuration(record.text, record.attributes),
            record.vector,
        )
        for record in sorted(chunk_records(rows), key=lambda record: record.id)
    ]


def new_rows(organisation: str, store: str, rows: GivenRows) -> bytes | None:
    """Return the rows in the binary format of ``COPY``, ordered by id; None if a row has a text."""
    if any(rows.texts):
        return None
    attributes = [
        orjson.dumps(_stored_attributes(id, given))
        for id, given in zip(rows.ids, rows.attributes, strict=True)
    ]
    return binary_rows(organisation, store, rows.ids, attributes, rows.vectors)


def _stored_attributes(id: str, owners: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the attributes to store, which filters test. If an attribute has the name of a system attribute,
    such as ``page``, searches show its value as the system attribute. If the value has another type than the
    system attribute, searches show a neutral value instead.
    """
    if SYSTEM.isdisjoint(owners):
        return owners
    types = {"page": int, "start": int, "end": int, "ordinal": int, "keywords": list}
    neutral = {"keywords": [], "filename": "", FILE: id}
    hidden = {
        name: neutral.get(name)
        for name in SYSTEM & owners.keys()
        if type(owners[name]) is not types.get(name, str)
    }
    return merged_attributes(hidden, owners)
