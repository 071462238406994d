"""The job that makes an attached file searchable: read, parse, chunk, keywords, compare, embed, write.

Before its last transaction, an attempt writes only its progress and, if an external index holds the vectors,
the new vectors. The last transaction writes the chunks, the document's version, the status of the attached
file, the usage and the end of the job. It writes all of these or nothing, and only if this attempt is still
the current attempt of the job.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from psycopg import Connection

from cluster.documents.containers.container_entries import EntryCounts, EntryPlace, place_of
from cluster.documents.files import File, get_file
from cluster.documents.indexing import Ahead
from cluster.documents.vector_stores import store_files
from cluster.documents.vector_stores.attaching import successor
from cluster.documents.vector_stores.store_files import FileStatus, StoreFile
from cluster.documents.vector_stores.stores import VectorStore, get_store
from cluster.engines import Registry
from cluster.errors import Conflict
from cluster.formats import format_of
from cluster.formats.recognition import Ocr, with_ocr_of
from cluster.jobs import attempts
from cluster.jobs.jobs import GONE, REPLACED
from cluster.jobs.kinds import INDEX_FILE
from cluster.records import NO_PAGE, Outcome
from cluster.settings import Settings
from cluster.usage.events import CHUNK, EMBEDDING, PAGE, UsageSource
from cluster.vector_index.attributes import merged_attributes
from data_jobs.kinds.containers.finish_container import finish_container
from data_jobs.kinds.containers.index_entries import Entries
from data_jobs.kinds.containers.place_facts import place_facts
from data_jobs.kinds.crawls.linked_content import linked_content
from data_jobs.kinds.crawls.replaced_content import require_same_content
from data_jobs.kinds.embed_chunks import chunked_row, embed_chunks
from data_jobs.kinds.resources import Resources
from data_jobs.stages import process_resources
from data_jobs.stages.chunk import Chunk
from data_jobs.stages.compare import mark_stored
from data_jobs.stages.document_row import DocumentRow, new_row, page_columns, unpack
from data_jobs.stages.embed import new_chunk_ids
from data_jobs.stages.keywords import Keywords
from data_jobs.stages.parsing.recognition import Recognition
from data_jobs.stages.parsing.unread_parts import unread_sentence, with_unread
from data_jobs.stages.pipeline_version import pipeline_version
from data_jobs.stages.write import DocumentWriter
from data_jobs.worker.budget_hold import BudgetHold
from data_jobs.worker.job_attempt import JobAttempt, NotWanted
from data_jobs.worker.parted_document import PartedDocument
from data_jobs.worker.recognise_pages import recognise_pages
from data_jobs.worker.stage_errors import StageFailed

#: For each stage, the percentages of the job that are done when the stage begins and when it ends. These
#: percentages are estimated from the times of a long document.
SHARES = {"read": (0, 2), "parse": (2, 35), "chunk": (35, 40), "embed": (40, 95), "write": (95, 99)}


@dataclass(frozen=True)
class IndexFile:
    """Runs jobs of the kind ``INDEX_FILE``; the worker calls an instance with each attempt."""

    resources: Resources

    async def __call__(self, attempt: JobAttempt) -> None:
        async with BudgetHold(attempt) as hold:
            await _Work(self.resources, attempt, hold).do()


@dataclass
class _Work:
    """Runs one attempt at the job."""

    resources: Resources
    attempt: JobAttempt
    hold: BudgetHold
    #: The pages that could not be read, each with the reason; see ``ParsedDocument.unread``.
    unread: dict[int, str] = field(default_factory=dict)
    #: Container and path of the file's entry; None if the file was not made from an entry of a container.
    place: EntryPlace | None = None
    #: Numbers of the entries by status; None if the file has no entries.
    entries: EntryCounts | None = None

    async def do(self) -> None:
        """Run all stages in order."""
        attempt = self.attempt
        self.store, self.attached, self.file = await attempt.in_transaction(self._look_up)
        if self.place is None and format_of(self.file.media_type).entries is not None:
            entries = Entries(
                resources=self.resources,
                attempt=attempt,
                store=self.store,
                attached=self.attached,
                file=self.file,
            )
            self.entries = await entries.index(self._read, self._pipeline_version(self.attached))
            if format_of(self.file.media_type).parser is None:
                await attempt.stage("write", partial(finish_container, entries, self.entries, self.hold))
                return
        row = new_row(self.attached.document, self.file.id, "")
        data = await attempt.stage("read", partial(attempt.in_thread, self._read), share=SHARES["read"])
        data, self.file, self.known = await linked_content(self.resources, attempt, data, self.file)
        row = {**row, "content_hash": self.file.sha256, "size": len(data), "media_type": self.file.media_type}
        row = await attempt.stage("parse", partial(self._parse, row, data), share=SHARES["parse"])
        del data
        row = await attempt.stage("chunk", partial(self._chunk, row), share=SHARES["chunk"])
        row = await attempt.stage("embed", partial(self._embed, row), share=SHARES["embed"])
        await attempt.stage(
            "write", partial(self._write, row), tries=attempt.settings.index_attempts, share=SHARES["write"]
        )

    def _look_up(self, connection: Connection[Any]) -> tuple[VectorStore, StoreFile, File]:
        """Return the vector store, the attached file and the file of the job.

        Raises:
            NotWanted: the file was detached or attached again, or the vector store was deleted.
            StageFailed: no model of this node has the store's fingerprint.
        """
        organisation, asked = self.attempt.job.organisation, self.attempt.job.input
        self.hold.look_up(connection)
        attached = self._hold(connection)
        store = get_store(connection, organisation, asked["vector_store"])
        try:
            Registry(self.attempt.settings).of(store.fingerprint)
        except Conflict as exc:
            raise StageFailed("read", str(exc), "conflict") from exc
        self.place = place_of(connection, organisation, asked["file"])
        return store, attached, get_file(connection, organisation, asked["file"])

    def _hold(self, connection: Connection[Any]) -> StoreFile:
        job = self.attempt.job
        attached = store_files.hold(
            connection, job.organisation, job.input["vector_store"], job.input["file"], job.id
        )
        if attached is None:
            organisation, store, file = job.organisation, job.input["vector_store"], job.input["file"]
            later = successor(connection, organisation, store, file)
            if later is not None and later != job.id:
                raise NotWanted(f"the file was attached again: job {later} replaces this one", REPLACED)
            raise NotWanted(f"file {file} is no longer attached to vector store {store}", GONE)
        return attached

    def _read(self) -> bytes:
        if self.file.bytes > self.attempt.settings.max_document_bytes:
            limit = f"{self.attempt.settings.max_document_bytes:,} bytes (CLUSTER_MAX_DOCUMENT_BYTES)"
            raise StageFailed("read", f"larger than {limit}", Outcome.TOO_LARGE)
        return self.resources.blobs.read(self.attempt.job.organisation, self.file.sha256)

    async def _parse(self, row: DocumentRow, data: bytes) -> DocumentRow:
        """Parse the document, recognise the pages without text, and return the row with the pages.

        Raises:
            StageFailed: the document has no text or too much text, or cannot be read.
        """
        attempt, name, settings = self.attempt, self.file.filename, self._settings(self.attached)
        document = PartedDocument(
            attempt, self.resources.parsers, data, name=name, partial=self.store.partial
        )
        pages, kind, total = await document.parse()
        work = Recognition(Ocr.of(settings), pages, document.unread, media_type=kind, settings=settings)
        await recognise_pages(work, attempt, self.resources.parsers, data, name=name)
        pages, self.unread = work.pages, work.unread
        with_text = sum(bool(page.text.strip()) for page in pages)
        if not with_text:
            outcome, detail = work.why_no_text() or await document.why_empty()
            raise StageFailed("parse", detail, outcome)
        if self.unread:
            row = {**row, "outcome": Outcome.PARTIAL_TEXT, "detail": unread_sentence(self.unread, total)}
        facts = work.with_facts({**place_facts(self.place), **self.known, **document.facts})
        return {
            **row,
            **page_columns(pages),
            "pages": len(pages),
            "pages_with_text": with_text,
            "media_type": kind,
            "facts": json.dumps(dict(with_unread(facts, self.unread))),
        }

    async def _chunk(self, row: DocumentRow) -> DocumentRow:
        attempt, strategy = self.attempt, self._strategy(self.attached)
        chunk = Chunk(attempt.settings, self.store.fingerprint, strategy=strategy)
        row = await chunked_row(attempt, self.resources, self.hold, chunk, row)
        return await attempt.in_thread(partial(self._compared, row))

    def _compared(self, row: DocumentRow) -> DocumentRow:
        """Add keywords, and mark the chunks that are stored already."""
        settings, store = self.attempt.settings, self.store
        if not Outcome(row["outcome"]).searchable:
            raise StageFailed("chunk", row["detail"], row["outcome"])
        row = Keywords(settings)(row)
        index, owner = self.resources.indexes.of(store), (store.organisation, store.id)
        stored = index.stored_ids(*owner, row["document"], collection=store.collection)
        return mark_stored(row, stored)

    async def _embed(self, row: DocumentRow) -> DocumentRow:
        chunks = unpack(row)
        ids = new_chunk_ids(chunks)
        special = process_resources.special_tokens(self.attempt.settings, self.store.fingerprint)
        tokens, model = sum(map(len, ids)) + special * len(ids), self.store.fingerprint.model
        tokens += row["chunker_tokens"]
        await self.hold.reserve(
            {(EMBEDDING, model): tokens, (PAGE, None): row["pages"], (CHUNK, None): len(chunks)}
        )
        vectors = await embed_chunks(self.attempt, self.resources, ids, fingerprint=self.store.fingerprint)
        return {**row, "vectors": vectors.tobytes()}

    async def _write(self, row: DocumentRow) -> None:
        writer = self._writer(self.attached)
        ahead = await self.attempt.in_thread(partial(writer.write_ahead, row))
        await self.attempt.in_transaction(partial(self._in_transaction, row, ahead))
        await self.attempt.in_thread(writer.settle)

    def _writer(self, attached: StoreFile) -> DocumentWriter:
        """Return a writer for the document that uses the current attributes of the attached file."""
        store, file = self.store, self.file

        def attributes(own: dict[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
            return merged_attributes(
                {**own, "filename": file.filename}, attached.attributes, facts=facts, file=file.id
            )

        return DocumentWriter(
            self.resources.indexes.of(store),
            store,
            job=self.attempt.job.id,
            source=UsageSource.JOB,
            pipeline_version=self._pipeline_version(attached),
            special_tokens=process_resources.special_tokens(self.attempt.settings, store.fingerprint),
            attributes=attributes,
        )

    def _pipeline_version(self, attached: StoreFile) -> str:
        """Return the version of the pipeline with the options of the attached file."""
        return pipeline_version(
            self._settings(attached), self.store.fingerprint, strategy=self._strategy(attached)
        )

    def _settings(self, attached: StoreFile) -> Settings:
        """Return the settings with the options of recognition of the store and of the attached file."""
        return with_ocr_of(self.attempt.settings, self.store, attached)

    def _strategy(self, attached: StoreFile) -> dict[str, Any] | None:
        return attached.chunking_strategy or self.store.chunking_strategy

    def _in_transaction(self, row: DocumentRow, ahead: Ahead | None, connection: Connection[Any]) -> None:
        job, store, file = self.attempt.job, self.store, self.file
        attached = self._hold(connection)  # before the job, in the same order as attaching and detaching
        attempts.hold(connection, job)
        require_same_content(connection, file)
        timeout_ms = f"{int(self.attempt.stage_timeout_s * 1000)}"
        connection.execute("SELECT set_config('statement_timeout', %s, true)", [timeout_ms])
        result = self._writer(attached).success(connection, row, ahead)
        self.hold.release(connection)
        failed_pages = sorted(page for page in self.unread if page != NO_PAGE)
        store_files.record_status(
            connection,
            job.organisation,
            store.id,
            file.id,
            job.id,
            status=FileStatus.COMPLETED,
            usage_bytes=file.bytes,
            failed_pages=failed_pages,
        )
        found = {
            **result,
            "facts": json.loads(row["facts"]),
            "failed_pages": failed_pages,
            "vector_store": store.id,
            "file": file.id,
            "entries": self.entries and asdict(self.entries),
        }
        attempts.finish(connection, job, result={name: found[name] for name in INDEX_FILE.result})
