"""Plan a bulk run: which documents are settled already, and which must pass through the pipeline.

plan = make_plan(pool, settings, store, list_sources("docs/", on_left_out=print))
plan.pending   # rows for the pipeline
plan.settled   # results of the documents that need no work
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.documents import documents
from cluster.documents.vector_stores.stores import VectorStore
from cluster.records import document_id
from cluster.settings import Settings
from data_jobs.sources import SourceFile
from data_jobs.stages.document_row import DocumentRow, new_row
from data_jobs.stages.pipeline_version import pipeline_version
from data_jobs.stages.write import unchanged_result

#: Number of documents to look up in one query.
LOOKUP_SIZE = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The documents of a run, divided into documents that need work and documents that need no work."""

    #: Documents to read. The hash of the bytes may still show that a document is unchanged.
    pending: list[DocumentRow]
    #: Results of documents whose stamps (``SourceFile.stamp``) show that the documents are unchanged. Each
    #: result is a row of ``RESULTS``, as the pipeline returns.
    settled: list[dict[str, Any]]

    @property
    def total(self) -> int:
        """Number of documents that were found."""
        return len(self.pending) + len(self.settled)


def make_plan(
    pool: ConnectionPool,
    settings: Settings,
    store: VectorStore,
    sources: Iterable[SourceFile],
    *,
    verify: bool = False,
) -> Plan:
    """Compare the documents found at a location with the documents in the database, and return the plan.

    Args:
        pool: connections to the database.
        settings: the settings of this run.
        store: the vector store to bring up to date.
        sources: the documents found.
        verify: read every document again, even if its size and modification time are unchanged.
    """
    plan = Plan(pending=[], settled=[])
    version = pipeline_version(settings, store.fingerprint, strategy=store.chunking_strategy)
    for batch in _batches(sources):
        by_id = {document_id(store.organisation, store.id, source.uri): source for source in batch}
        with translated(), pool.connection() as connection:
            known = documents.known_documents(connection, store.organisation, store.id, list(by_id))
        for document, source in by_id.items():
            before = known.get(document)
            done = (
                before is not None and before.attempted_version == version and not before.outcome.may_change
            )
            if before is None or not done:
                plan.pending.append(new_row(document, source.uri, source.stamp))
            elif verify or not source.stamp or source.stamp != before.source_stamp:
                plan.pending.append(
                    new_row(document, source.uri, source.stamp, known_hash=before.attempted_hash or "")
                )
            else:
                plan.settled.append(unchanged_result(source.uri, before))
    return plan


def _batches(sources: Iterable[SourceFile]) -> Iterator[list[SourceFile]]:
    iterator = iter(sources)
    while batch := list(islice(iterator, LOOKUP_SIZE)):
        yield batch
