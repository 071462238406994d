"""Attaching files to vector stores: each attached file gets a job that indexes it.

Called by the routes and by the doctor. A worker whose job has lost its file calls ``successor``.

    with connection.transaction():
        attach_many(connection, store, [Attachment(file="file-1")])
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.documents.store_files import StoreFile, get_store_file
from cluster.documents.stores import VectorStore, require_live, touch_store
from cluster.errors import InvalidInput, NotFound
from cluster.formats import DOCUMENT_PURPOSES
from cluster.jobs import queue
from cluster.jobs.jobs import REPLACED, PriorityClass
from cluster.jobs.kinds import INDEX_FILE
from cluster.records import document_id

SQL = queries("cluster.documents", "attaching.sql")


@dataclass(frozen=True, kw_only=True, slots=True)
class Attachment:
    """A file as it is to be attached."""

    file: str
    #: At most 16, for filters; strings, numbers and booleans.
    attributes: Mapping[str, Any] = field(default_factory=dict)
    #: OpenAI's; None: the store's.
    chunking_strategy: Mapping[str, Any] | None = None


def attach(
    connection: Connection[Any],
    store: VectorStore,
    file: str,
    *,
    attributes: Mapping[str, Any] | None = None,
    chunking_strategy: Mapping[str, Any] | None = None,
    priority_class: PriorityClass = PriorityClass.MEDIUM,
    priority: int = queue.DEFAULT_PRIORITY,
    attempts: int | None = None,
) -> StoreFile:
    """Attach one file, as ``attach_many`` does."""
    one = Attachment(file=file, attributes=attributes or {}, chunking_strategy=chunking_strategy)
    attach_many(connection, store, [one], priority_class=priority_class, priority=priority, attempts=attempts)
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
) -> None:
    """Attach files and submit a job for each; of several with one file the last counts.

    A file that is attached already is processed again, under the id it has. If that is being done already, and nothing is asked
    to be cut otherwise, its job is the one that does it, with the attributes given now.

    Args:
        priority_class: how urgent their jobs are.
        priority: 0 to 9, place inside the class; higher goes first.
        attempts: how often each job is begun at most.
        batch: id of the batch they come with.

    Raises:
        NotFound: files that the organisation does not have; nothing is attached then.
        InvalidInput: files for another purpose than ``formats.DOCUMENT_PURPOSES``; nothing is attached then.
        Conflict: the store has expired.
    """
    require_live(store)
    wanted = {one.file: one for one in sorted(attachments, key=lambda one: one.file)}
    owner = {"organisation": store.organisation, "vector_store": store.id, "files": list(wanted)}
    with connection.transaction():
        _require_files(connection, owner)
        ids = [document_id(store.organisation, store.id, file) for file in wanted]
        connection.execute(SQL["insert"], {**owner, "documents": ids})
        jobs, replaced = _open_jobs(
            connection, {one.file: one.chunking_strategy for one in wanted.values()}, owner
        )
        queue.lock_jobs(
            connection, store.organisation, list(replaced.values())
        )  # before turns, in the order of ``requeue``
        new = [file for file in wanted if file not in jobs]
        requests = [_request(store, file) for file in new]
        submitted = queue.submit_many(
            connection,
            store.organisation,
            requests,
            priority_class=priority_class,
            priority=priority,
            attempts=attempts,
        )
        jobs.update((file, job.id) for file, job in zip(new, submitted, strict=True))
        _replace_jobs(connection, store.organisation, {replaced[file]: jobs[file] for file in replaced})
        values = {
            **owner,
            "jobs": [jobs[file] for file in wanted],
            "attributes": [json.dumps(dict(one.attributes)) for one in wanted.values()],
            "strategies": [
                one.chunking_strategy and json.dumps(dict(one.chunking_strategy)) for one in wanted.values()
            ],
        }
        connection.execute(SQL["attach"], values)
        if batch is not None:
            connection.execute(SQL["add_members"], {**values, "batch": batch})
        touch_store(connection, store)


def successor(connection: Connection[Any], organisation: str, store_id: str, file: str) -> str | None:
    """Id of the job that is the file's last one; None where the file is no longer attached."""
    row = connection.execute(
        SQL["successor"], {"organisation": organisation, "vector_store": store_id, "file": file}
    ).fetchone()
    return row[0] if row else None


def _require_files(connection: Connection[Any], owner: dict[str, Any]) -> None:
    """Return if the organisation has all files of the owner.

    Raises:
        NotFound: naming the first that is not there.
        InvalidInput: files for another purpose than ``DOCUMENT_PURPOSES``.
    """
    there = dict(connection.execute(SQL["files"], owner).fetchall())
    missing = [file for file in owner["files"] if file not in there]
    if missing:
        more = f", nor {len(missing) - 1} others of those named" if len(missing) > 1 else ""
        raise NotFound(f"no file {missing[0]!r}{more}; nothing was attached")
    for file, purpose in there.items():
        if purpose not in DOCUMENT_PURPOSES:
            purposes = " or ".join(DOCUMENT_PURPOSES)
            raise InvalidInput(
                f"file {file!r} is for {purpose!r}, and a vector store takes files for {purposes}: upload it for one of these; "
                "nothing was attached"
            )


def _open_jobs(
    connection: Connection[Any], wanted: Mapping[str, Mapping[str, Any] | None], owner: dict[str, Any]
) -> tuple[dict[str, str], dict[str, str]]:
    """By file, whose row is locked: jobs that do what is wanted already, and jobs that do something else and have to go.

    Args:
        wanted: by file, how it is to be cut.
        owner: organisation, vector store and files.
    """
    running: dict[str, str] = {}
    others: dict[str, str] = {}
    for file, job, strategy, open, goes_on in connection.execute(SQL["lock_many"], owner).fetchall():
        if open:
            (running if goes_on and strategy == wanted[file] else others)[file] = job
    return running, others


def _replace_jobs(connection: Connection[Any], organisation: str, jobs: Mapping[str, str]) -> None:
    """Old jobs end because of new ones, and batches that wait for a file wait for its new job."""
    connection.execute(
        SQL["members_follow"], {"organisation": organisation, "old": list(jobs), "new": list(jobs.values())}
    )
    for old, new in jobs.items():
        reason = f"the file was attached anew: job {new} took its place"
        queue.cancel(connection, organisation, old, reason=reason, code=REPLACED)


def _request(store: VectorStore, file: str) -> queue.JobRequest:
    return queue.JobRequest(kind=INDEX_FILE, input={"vector_store": store.id, "file": file}, subject=file)
