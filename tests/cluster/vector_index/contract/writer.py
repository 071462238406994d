"""A process that stops in mid-write, for a test that kills it.

    python -m tests.cluster.vector_index.contract.writer COLLECTION

It writes the vectors of new versions of two documents, and changes the chunks of the second in a transaction
that stays open. Then it prints a line and waits for its end.
"""

import sys

import numpy as np

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.logs import configure
from cluster.settings import Settings
from tests.cluster.vector_index.contract import DIM, ORG, STORE

FIRST, SECOND = "first", "second"


def version(document: str, name: str, count: int) -> list[ChunkRecord]:
    """Make the chunks of a version of a document. They are the same in every process."""
    chance = np.random.default_rng(list(f"{document}{name}".encode()))
    return [
        ChunkRecord(
            id=f"{document}-{name}{n:03}",
            document=document,
            text=f"Chunk {n} of {name}.",
            attributes={"version": name},
            vector=chance.normal(size=DIM).astype(np.float32),
        )
        for n in range(count)
    ]


def main(collection: str) -> None:
    """Begin to write, and wait in the middle of the write."""
    settings = Settings()
    configure(settings)
    new = {document: version(document, "new", 50) for document in (FIRST, SECOND)}
    with open_pool(settings, access=OWNER) as pool:
        index = open_chunk_index(settings, pool)
        ahead = {
            document: index.write_ahead(ORG, STORE, rows, collection=collection)
            for document, rows in new.items()
        }
        with pool.connection() as connection, connection.transaction():
            index.make_current(
                connection, ORG, STORE, SECOND, new[SECOND], collection=collection, ahead=ahead[SECOND]
            )
            print("in mid-write", flush=True)
            sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
