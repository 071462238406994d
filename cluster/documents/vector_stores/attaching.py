"""Attach files to vector stores. Each attached file gets a job that indexes the file.

The routes, the doctor and the jobs that attach files call this module. A worker calls ``successor`` if
another job has replaced the worker's job, or if the file was detached.

    with connection.transaction():
        attach_many(connection, store, [Attachment(file="file-1")])
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.documents.vector_stores.store_files import StoreFile, get_store_file
from cluster.documents.vector_stores.stores import VectorStore, require_live, touch_store
from cluster.errors import InvalidInput, NotFound
from cluster.formats import DOCUMENT_PURPOSES
from cluster.formats.recognition import OcrMode
from cluster.jobs import queue
from cluster.jobs.jobs import REPLACED, PriorityClass
from cluster.jobs.kinds import INDEX_FILE
from cluster.records import document_id

SQL = queries("cluster.documents.vector_stores", "attaching.sql")


@dataclass(frozen=True, kw_only=True, slots=True)
class Attachment:
    """A file to attach, with its options."""

    file: str
    #: At most 16 strings, numbers and booleans that search filters can use.
    attributes: Mapping[str, Any] = field(default_factory=dict)
    #: OpenAI's ``chunking_strategy``; None means the strategy of the store.
    chunking_strategy: Mapping[str, Any] | None = None
    #: Mode of optical character recognition; None means the mode of the store.
    ocr: OcrMode | None = None
    #: Languages of the text to recognise; None means the languages of the store.
    ocr_languages: str | None = None

    @property
    def reading(self) -> tuple[Any, ...]:
        """The options that change what the job of the file writes."""
        return self.chunking_strategy, self.ocr, self.ocr_languages


def like(attached: StoreFile, *, file: str) -> Attachment:
    """Return the attachment of a file with the attributes and the options of an attached file."""
    return Attachment(
        file=file,
        attributes=attached.attributes,
        chunking_strategy=attached.chunking_strategy,
        ocr=attached.ocr,
        ocr_languages=attached.ocr_languages,
    )


def attach(
    connection: Connection[Any],
    store: VectorStore,
    file: str,
    *,
    attributes: Mapping[str, Any] | None = None,
    chunking_strategy: Mapping[str, Any] | None = None,
    ocr: OcrMode | None = None,
    ocr_languages: str | None = None,
    priority_class: PriorityClass = PriorityClass.MEDIUM,
    priority: int = queue.DEFAULT_PRIORITY,
    attempts: int | None = None,
    run_at: datetime | None = None,
) -> StoreFile:
    """Attach one file; see ``attach_many`` for the arguments and errors."""
    attachment = Attachment(
        file=file,
        attributes=attributes or {},
        chunking_strategy=chunking_strategy,
        ocr=ocr,
        ocr_languages=ocr_languages,
    )
    attach_many(
        connection,
        store,
        [attachment],
        priority_class=priority_class,
        priority=priority,
        attempts=attempts,
        run_at=run_at,
    )
    return get_store_file(connection, store.organisation, store.id, file)


def attach_many(
    connection: Connection[Any],
    store: VectorStore,
    attachments: Sequence[Attachment],
    *,
    priority_class: PriorityClass = PriorityClass.MEDIUM,
    priority: int = queue.DEFAULT_PRIORITY,
    attempts: int | None = None,
    batch: str | None = None,
    run_at: datetime | None = None,
    replace_open: bool = False,
) -> None:
    """Attach all the files or none, and submit a job for each file that needs a new job.

    A file that is attached already is indexed again. If the file has an open job with the same chunking
    strategy and the same options of recognition, that job continues with the new attributes. A new job
    replaces any other open job.

    Args:
        attachments: the files; if a file occurs more than once, its last attachment counts.
        priority_class: the priority class of the jobs.
        priority: 0 to 9, the priority inside the class; jobs with a higher priority run first.
        attempts: maximum number of attempts of each job; None: the default of the job's kind.
        batch: id of the file batch that the files belong to.
        run_at: earliest time at which new jobs begin, with a time zone.
        replace_open: True to replace every open job, because the store has changed.

    Raises:
        NotFound, InvalidInput: see ``_require_files``.
        Conflict: the store has expired.
    """
    require_live(store)
    wanted = {one.file: one for one in sorted(attachments, key=lambda one: one.file)}
    owner = {"organisation": store.organisation, "vector_store": store.id, "files": list(wanted)}
    with connection.transaction():
        _require_files(connection, owner)
        ids = [document_id(store.organisation, store.id, file) for file in wanted]
        connection.execute(SQL["insert"], {**owner, "documents": ids})
        jobs, replaced = _open_jobs(connection, wanted, owner, replace=replace_open)
        # Lock jobs before queue entries, as ``queue.requeue`` does. Another order could cause a deadlock.
        queue.lock_jobs(connection, store.organisation, list(replaced.values()))
        new = [file for file in wanted if file not in jobs]
        options: dict[str, Any] = {"priority": priority, "attempts": attempts, "run_at": run_at}
        jobs |= _submit(connection, store, new, priority_class=priority_class, **options)
        _replace_jobs(connection, store.organisation, {replaced[file]: jobs[file] for file in replaced})
        _write(connection, owner, wanted.values(), jobs, batch=batch)
        touch_store(connection, store)


def _submit(
    connection: Connection[Any], store: VectorStore, files: Sequence[str], **options: Any
) -> dict[str, str]:
    """Submit a job for each of the files. Return the id of each job by the id of its file."""
    requests = [_request(store, file) for file in files]
    submitted = queue.submit_many(connection, store.organisation, requests, **options)
    return {file: job.id for file, job in zip(files, submitted, strict=True)}


def successor(connection: Connection[Any], organisation: str, store_id: str, file: str) -> str | None:
    """Return the id of the file's latest job; None if the file is no longer attached."""
    row = connection.execute(
        SQL["successor"], {"organisation": organisation, "vector_store": store_id, "file": file}
    ).fetchone()
    return row[0] if row else None


def _require_files(connection: Connection[Any], owner: dict[str, Any]) -> None:
    """Check that the organisation has all the files, and that a vector store takes files with their purposes.

    Raises:
        NotFound: a file is missing.
        InvalidInput: the purpose of a file is not in ``DOCUMENT_PURPOSES``.
    """
    found = dict(connection.execute(SQL["files"], owner).fetchall())
    missing = [file for file in owner["files"] if file not in found]
    if missing:
        more = f" and {len(missing) - 1} other files do" if len(missing) > 1 else " does"
        raise NotFound(f"file {missing[0]!r}{more} not exist; nothing was attached")
    for file, purpose in found.items():
        if purpose not in DOCUMENT_PURPOSES:
            purposes = " or ".join(DOCUMENT_PURPOSES)
            raise InvalidInput(
                f"file {file!r} is for {purpose!r}, and a vector store takes files for {purposes}; "
                "upload it for one of these. Nothing was attached"
            )


def _open_jobs(
    connection: Connection[Any],
    wanted: Mapping[str, Attachment],
    owner: dict[str, Any],
    *,
    replace: bool,
) -> tuple[dict[str, str], dict[str, str]]:
    """Lock the rows of the files. Return two mappings from a file to its open job: first the jobs to keep,
    then the jobs to replace.

    Args:
        wanted: the attachment of each file, by the id of the file. An open job with the same
            ``Attachment.reading`` can be kept.
        owner: the organisation, the vector store, and the ids of the files.
        replace: True to keep no open job.
    """
    kept: dict[str, str] = {}
    replaced: dict[str, str] = {}
    for file, job, is_open, continues, *reading in connection.execute(SQL["lock_many"], owner).fetchall():
        if is_open:
            keep = continues and tuple(reading) == wanted[file].reading and not replace
            (kept if keep else replaced)[file] = job
    return kept, replaced


def _replace_jobs(connection: Connection[Any], organisation: str, jobs: Mapping[str, str]) -> None:
    """Cancel each old job because a new job replaces it. A batch that waits for an old job then waits for the
    new job.

    Args:
        jobs: the id of the new job, by the id of the old job.
    """
    connection.execute(
        SQL["members_follow"], {"organisation": organisation, "old": list(jobs), "new": list(jobs.values())}
    )
    for old, new in jobs.items():
        reason = f"the file was attached again: job {new} replaces this one"
        queue.cancel(connection, organisation, old, reason=reason, code=REPLACED)


def _write(
    connection: Connection[Any],
    owner: dict[str, Any],
    attachments: Iterable[Attachment],
    jobs: Mapping[str, str],
    *,
    batch: str | None,
) -> None:
    """Write the job and the options of each attached file. Add the files to the batch, if a batch is given.
    The attachments have the order of ``owner["files"]``.
    """
    names = ("jobs", "attributes", "strategies", "modes", "languages")
    values: dict[str, Any] = {**owner, **{name: [] for name in names}}
    for attachment in attachments:
        strategy = attachment.chunking_strategy
        values["jobs"].append(jobs[attachment.file])
        values["attributes"].append(json.dumps(dict(attachment.attributes)))
        values["strategies"].append(strategy and json.dumps(dict(strategy)))
        values["modes"].append(attachment.ocr)
        values["languages"].append(attachment.ocr_languages)
    connection.execute(SQL["attach"], values)
    if batch is not None:
        connection.execute(SQL["add_members"], {**values, "batch": batch})


def _request(store: VectorStore, file: str) -> queue.JobRequest:
    return queue.JobRequest(kind=INDEX_FILE, input={"vector_store": store.id, "file": file}, subject=file)
