"""Replace the row of a container, such as an archive, by one row for each of its entries."""

import tempfile
from collections.abc import Iterator
from hashlib import sha256

from cluster.database import translated
from cluster.documents.documents import known_documents
from cluster.documents.vector_stores.stores import VectorStore
from cluster.formats import READABLE, UNPACKABLE, Format, recognise
from cluster.records import MAX_FACT_LENGTH, Fact, Outcome, document_id
from cluster.settings import Settings
from data_jobs.sources import entry_uri, file_name
from data_jobs.stages import process_resources
from data_jobs.stages.containers.entry_frames import BadFrames, UnpackedEntry, read_entries
from data_jobs.stages.containers.limits import entry_limits
from data_jobs.stages.database_retry import with_database_retry
from data_jobs.stages.document_row import DocumentRow, new_row, with_facts
from data_jobs.stages.map_rows import failed
from data_jobs.stages.parse import parser_of_process


class Unpack:
    """Unpacks ``content``; rows of documents that are no containers pass unchanged.

    Fills the columns that ``Read`` fills, and ``facts``, in the row of each entry. The source of an entry is
    ``mails.zip!/2026/a.eml``. An e-mail keeps its own row, before the rows of its attachments. The row of an
    archive stays only if the archive cannot be unpacked. The success of an archive is not recorded, so
    every run unpacks the archive again and compares the hashes of its entries.

    Args:
        settings: the settings of the run.
        store: the vector store.
        pipeline_version: version of the run's pipeline.
        whole: True if containers cannot be unpacked in this run. An archive then fails, and an e-mail is
            read without its attachments.
    """

    def __init__(
        self, settings: Settings, store: VectorStore, *, pipeline_version: str, whole: bool = False
    ) -> None:
        self.settings = settings
        self.store = store
        self.pipeline_version = pipeline_version
        self.whole = whole

    def __call__(self, row: DocumentRow) -> Iterator[DocumentRow]:
        format = recognise(row["content"], name=file_name(row["source"]))
        if format not in UNPACKABLE:
            yield row
            return
        own = _without_content(row) if row["unchanged"] else row
        if self.whole:
            detail = (
                f"is {format.media_type}, which --provider-batch does not unpack; "
                "run the same command without --provider-batch to ingest it"
            )
            # Without a stamp and a hash, a later run without the option reads the container again.
            if format in READABLE:
                yield {**own, "stamp": ""}
            else:
                yield {**failed(row, Outcome.UNSUPPORTED, detail), "stamp": "", "content_hash": ""}
        elif row["unchanged"] and format not in READABLE:
            yield own  # the archive was refused before, and is recorded only for this reason
        else:
            yield from self._unpacked(row, own, format)

    def _unpacked(self, row: DocumentRow, own: DocumentRow, format: Format) -> Iterator[DocumentRow]:
        limits = entry_limits(self.settings)
        name = file_name(row["source"])
        with tempfile.TemporaryFile() as into:
            parser = parser_of_process(self.settings)
            fault = parser.unpack(row["content"], name=name, limits=limits, into=into)
            if fault is None:
                frames = read_entries(into, max_entry_bytes=limits.entry_bytes)
                try:
                    frame = next(frames)
                    if format in READABLE:
                        # Without a stamp, the next run reads the e-mail again, and so its attachments.
                        yield {**own, "stamp": ""} if frame.path else own
                    elif not frame.path and frame.outcome is Outcome.OK:
                        fault = Outcome.EMPTY, "holds no files"
                    while frame.path:
                        yield self._entry(row["source"], name, frame)
                        frame = next(frames)
                    if frame.outcome is not Outcome.OK:
                        fault = frame.outcome, frame.detail
                except BadFrames as exc:
                    fault = Outcome.CORRUPT, f"made its reader give an invalid result ({exc})"
            elif format in READABLE:
                yield own
        if fault is not None and format not in READABLE:
            yield failed(row, *fault)

    def _entry(self, container: str, name: str, entry: UnpackedEntry) -> DocumentRow:
        source = entry_uri(container, entry.path)
        row = new_row(document_id(self.store.organisation, self.store.id, source), source, "")
        facts = {Fact.CONTAINER: name[:MAX_FACT_LENGTH], Fact.PATH: entry.path[:MAX_FACT_LENGTH]}
        row = with_facts(row, facts)
        if entry.outcome is not Outcome.OK:
            return failed(row, entry.outcome, entry.detail)
        content_hash = sha256(entry.data).hexdigest()
        row = {**row, "content_hash": content_hash, "size": len(entry.data)}
        if self._known_hash(row["document"]) == content_hash:
            return {**row, "known_hash": content_hash, "unchanged": True}
        return {**row, "content": entry.data}

    def _known_hash(self, document: str) -> str | None:
        """Return the hash of the document's last attempt, if this pipeline need not repeat the attempt."""

        def look_up() -> str | None:
            pool = process_resources.pool(self.settings)
            with translated(), pool.connection() as connection:
                found = known_documents(connection, self.store.organisation, self.store.id, [document])
            known = found.get(document)
            if known is None or known.outcome.may_change or known.attempted_version != self.pipeline_version:
                return None
            return known.attempted_hash

        return with_database_retry(self.settings, look_up)


def _without_content(row: DocumentRow) -> DocumentRow:
    return {**row, "content": b""}
