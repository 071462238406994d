"""Copy a vector store into another store, which may be in another index. For example, copy from pgvector to
Pinecone.

    python -m data_jobs.copy_store --from handbook --to handbook-pinecone --index pinecone

The copy has the same chunks with the same ids, texts, attributes and vectors, so searches of both stores give
the same results. The copy also has the records of the documents and the attached files. So the files of the
copy can be listed, deleted and indexed again in the same way as the files of the first store. If the second
store does not exist, it is created with the settings of the first store. A copy that was cut short continues
when the same command runs again, and nothing is written twice. At the end, both stores are compared.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import open_pool, organisation_access, translated
from cluster.documents.chunks.chunk_copies import Difference, compare, some_ids, vectors_of
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.copies import count_documents
from cluster.documents.vector_stores import stores
from cluster.documents.vector_stores.stores import VectorStore
from cluster.errors import InvalidInput, NotFound
from cluster.jobs.command_job import CommandJob
from cluster.jobs.kinds import COPY_STORE
from cluster.jobs.queue import JobRequest
from cluster.logs import about
from cluster.settings import Settings
from data_jobs.transfer.command import EXIT_CODES, Summary, add_common, progress, run
from data_jobs.transfer.reading import read_store
from data_jobs.transfer.store_record import StoreRecord
from data_jobs.transfer.targets import index_for, prepare_index, require_fits
from data_jobs.transfer.writing import StoreWriter

#: Maximum number of chunks whose vectors are compared at the end, if a store has its vectors in an external
#: index.
COMPARED_VECTORS = 1_000


def copy_store(settings: Settings, first: str, second: str, *, index: str | None = None) -> Summary:
    """Copy the store named ``first`` into the store named ``second``, and return the summary.

    Args:
        index: name of the index for the vectors of a new store; None: ``CLUSTER_VECTOR_INDEX``.

    Raises:
        NotFound: there is no store ``first``, or ``second`` is an id and no store has this id.
        Conflict: the stores hold vectors of different models, or the vectors of the second store are in
            another index than ``index``.
        InvalidInput: both names mean the same store, or no index has the name ``index``.
        Retryable: the database or an index stayed unavailable. The next run continues the copy.
    """
    with open_pool(settings, access=organisation_access(settings.organisation)) as pool:
        indexes = ChunkIndexes(settings, pool)
        with translated(), pool.connection() as connection:
            source = stores.find_store(connection, settings.organisation, first)
        prepare_index(pool, indexes, settings, second, source.fingerprint, index=index)
        with translated(), pool.connection() as connection:
            target = _target(connection, settings, source, second, index)
        indexes.of(target).ensure(target.collection, dim=target.fingerprint.dim)
        total = indexes.of(source).count(source.organisation, source.id, collection=source.collection)
        request = JobRequest(
            kind=COPY_STORE, input={"from": source.id, "to": target.id}, total=total, subject=target.id
        )
        with CommandJob(pool, source.organisation, request, lease_s=settings.lease_s) as job:
            with about(**job.log_fields), progress(total) as advance:
                writer = StoreWriter(settings, pool, indexes.of(target), target, job=job.id)
                parts = read_store(pool, indexes.of(source), source, size=writer.rows_at_once)
                with closing(parts):
                    for part in parts:
                        writer.write(part)
                        advance(writer.counts.source)
                        job.progress(writer.counts.source)
            indexes.of(target).optimise(target.collection)
            summary = {**writer.counts.summary(), **_compared(pool, indexes, source, target)}
            job.result = summary
    return summary


def _target(
    connection: Connection[Any], settings: Settings, source: VectorStore, name: str, index: str | None
) -> VectorStore:
    """Return the store with this name or id. If no store has this name, create a store with the settings of
    the source.

    Raises:
        NotFound: the name is an id, and no store has this id.
        InvalidInput: the store is the source.
        Conflict: the store holds vectors of another model, or holds its vectors in another index.
    """
    try:
        target = stores.find_store(connection, source.organisation, name)
    except NotFound:
        if stores.ID.match(name):
            raise
        new = StoreRecord.of(source).new(name, index=index_for(settings, index))
        return stores.create_store(connection, source.organisation, new, fingerprint=source.fingerprint)
    if target.id == source.id:
        raise InvalidInput(f"--from and --to name the same vector store {target.id!r}; name another one")
    require_fits(target, source.fingerprint, index=index)
    return target


def _compared(
    pool: ConnectionPool, indexes: ChunkIndexes, source: VectorStore, target: VectorStore
) -> dict[str, Any]:
    """Compare the current contents of both stores, and return the result as values of the summary."""
    with translated(), pool.connection() as connection:
        found: Difference = compare(connection, source, target)
        records = [count_documents(connection, store) for store in (source, target)]
        ids = some_ids(connection, target, COMPARED_VECTORS)
    other_vectors = _other_vectors(pool, indexes, source, target, ids)
    return {
        "equal": found.equal and not other_vectors and records[0] == records[1],
        "only_in_source": found.only_first,
        "only_in_target": found.only_second,
        "different": found.different + other_vectors,
        "documents": f"{records[0][0]:,} and {records[1][0]:,}",
        "files": f"{records[0][1]:,} and {records[1][1]:,}",
    }


def _other_vectors(
    pool: ConnectionPool, indexes: ChunkIndexes, source: VectorStore, target: VectorStore, ids: Sequence[str]
) -> int:
    """Return how many of these chunks do not have the same vector in both stores."""
    if indexes.of(source).external is None and indexes.of(target).external is None:
        return 0  # ``compare`` has compared all vectors already
    one, two = (vectors_of(pool, indexes.of(store), store, ids) for store in (source, target))
    return sum(id not in one or id not in two or not np.array_equal(one[id], two[id]) for id in ids)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return the exit code."""
    options = _parser().parse_args(arguments)
    work = partial(copy_store, first=options.source, second=options.target, index=options.index)
    return run(options, work, title=f"Copied {options.source} to {options.target}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_jobs.copy_store",
        description="Copy a vector store into another store, which may be in another index. Nothing is "
        "embedded again. A copy that was cut short continues when the same command runs again.",
        epilog=EXIT_CODES,
    )
    parser.add_argument(
        "--from", dest="source", required=True, metavar="STORE", help="name or id of the store to copy"
    )
    parser.add_argument(
        "--to", dest="target", required=True, metavar="STORE",
        help="name or id of the store to copy into; it is made if it does not exist",
    )  # fmt: skip
    parser.add_argument(
        "--index", metavar="NAME",
        help="index for the vectors of a store that is made (default: CLUSTER_VECTOR_INDEX)",
    )  # fmt: skip
    return add_common(parser)


if __name__ == "__main__":
    sys.exit(main())
