"""Submits jobs that import agents in bulk, and keeps the rows from which such a job resumes.

The job is ``data_jobs.kinds.agents.create_agents``. Each row says for one agent which definition is
wanted, which stores hold the knowledge, and which outcome the import of the agent has.

    with connection.transaction():
        job = submit_import(connection, blobs, "acme", prepared, mode="atomic", default_limits=limits)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cluster.agents.agents import agent_id, config_hash, save_agent
from cluster.agents.contents import PURPOSE, NewContent
from cluster.agents.definition import AgentDefinition, AgentKnowledge
from cluster.agents.knowledge import (
    AgentSource,
    NewStores,
    add_sources,
    files_of,
    lock,
    plan,
    release,
    source_id,
)
from cluster.agents.preparing import PreparedAgent
from cluster.blobs import BlobStore
from cluster.database.queries import queries
from cluster.documents.files import create_file, require_blob
from cluster.errors import NotFound, Unavailable
from cluster.jobs import queue
from cluster.jobs.jobs import Job
from cluster.jobs.kinds import CREATE_AGENTS
from cluster.organisations.organisations import StorageLimits

SQL = queries("cluster.agents", "imports.sql")
#: ``atomic``: creates all agents or none. ``partial``: creates every agent that can be created.
ImportMode = Literal["atomic", "partial"]
AgentOutcome = Literal["created", "updated", "unchanged", "failed"]
#: Maximum number of failed agents that the result of an import names.
FAILURES_SHOWN = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportRow:
    """An agent of an import, as long as the import of this agent has no outcome."""

    number: int
    agent: str
    definition: dict[str, Any]
    sources: list[dict[str, Any]]
    #: For each source, the store that holds it; None before the places are planned.
    knowledge: dict[str, str] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFiles:
    """How many files one row has, and how many of them are indexed or failed."""

    number: int
    files: int
    completed: int
    failed: int
    #: Why one of the files failed; None if no file failed.
    error: str | None

    @property
    def done(self) -> bool:
        """True if no file of the row is still being indexed."""
        return self.completed + self.failed == self.files


def submit_import(
    connection: Connection[Any],
    blobs: BlobStore,
    organisation: str,
    prepared: Sequence[PreparedAgent],
    *,
    mode: ImportMode,
    default_limits: StorageLimits,
    **options: Any,
) -> Job:
    """Create the files of new contents, the rows and the job, in the caller's transaction.

    Args:
        blobs: has the bytes of the new contents.
        options: priority class, priority and attempts of the job, in place of the defaults of its kind.

    Raises:
        NotFound: an uploaded file was deleted after it was checked.
        Unavailable: the last file with the bytes of a new content was deleted at the same time.
        Throttled: the organisation has reached a storage limit.
    """
    lock(connection, organisation)
    sources = resolve(connection, blobs, organisation, prepared, default_limits=default_limits)
    asked = {"mode": mode, "agents": len(prepared)}
    request = queue.JobRequest(kind=CREATE_AGENTS, input=asked, total=len(prepared))
    limits = {"priority_class": CREATE_AGENTS.priority_class, "attempts": CREATE_AGENTS.attempts}
    (job,) = queue.submit_many(connection, organisation, [request], **{**limits, **options})
    rows = []
    for agent, known in zip(prepared, sources, strict=True):
        definition = normalised(agent, known)
        rows.append(
            {
                "number": agent.number,
                "line": agent.line,
                "agent": agent_id(organisation, definition.external_id),
                "definition": definition.model_dump(mode="json", exclude_unset=True),
                "config_hash": config_hash(definition, [source.id for source in known]),
                "sources": [{"id": source.id, "file": source.file} for source in known],
            }
        )
    connection.execute(SQL["add_rows"], {"organisation": organisation, "job": job.id, "rows": Jsonb(rows)})
    return job


def resolve(
    connection: Connection[Any],
    blobs: BlobStore,
    organisation: str,
    prepared: Sequence[PreparedAgent],
    *,
    default_limits: StorageLimits,
) -> list[list[AgentSource]]:
    """Return the sources of each agent, each source once, and add the sources that are new. Call ``lock``
    first.

    Raises:
        NotFound: an uploaded file was deleted after it was checked.
        Unavailable: the last file with the bytes of a new content was deleted at the same time.
        Throttled: the organisation has reached a storage limit.
    """
    given = {
        one.file_id
        for agent in prepared
        for one in agent.knowledge
        if isinstance(one, AgentKnowledge) and one.file_id is not None
    }
    found = connection.execute(SQL["file_hashes"], {"organisation": organisation, "ids": list(given)})
    hashes = {id: sha256 for id, sha256, *_ in found}
    contents: dict[str, NewContent | str] = {}
    ids: list[list[str]] = []
    for agent in prepared:
        own: dict[str, None] = {}
        for one in agent.knowledge:
            if isinstance(one, NewContent):
                own[source_id(one.blob.sha256)] = None
                contents.setdefault(source_id(one.blob.sha256), one)
            elif one.file_id is not None:
                if one.file_id not in hashes:
                    raise NotFound(f"no file {one.file_id!r}; it was deleted after it was checked")
                own[source_id(hashes[one.file_id])] = None
                contents[source_id(hashes[one.file_id])] = one.file_id
        ids.append(list(own))
    sources = _existing_or_new(connection, blobs, organisation, contents, default_limits)
    return [[sources[id] for id in own] for own in ids]


def _existing_or_new(
    connection: Connection[Any],
    blobs: BlobStore,
    organisation: str,
    contents: Mapping[str, NewContent | str],
    default_limits: StorageLimits,
) -> dict[str, AgentSource]:
    known = files_of(connection, organisation, contents)
    new: list[AgentSource] = []
    for id, content in contents.items():
        if id in known:
            continue
        if isinstance(content, str):
            new.append(AgentSource(id=id, file=content, owned=False))
            continue
        if not require_blob(connection, blobs, organisation, content.blob.sha256):
            raise Unavailable("the last file with these bytes was deleted meanwhile; try again")
        file = create_file(
            connection,
            organisation,
            content.filename,
            PURPOSE,
            content.blob,
            content.media_type,
            default_limits=default_limits,
        )
        new.append(AgentSource(id=id, file=file.id, owned=True))
    add_sources(connection, organisation, new)
    existing = [AgentSource(id=id, file=file, owned=False) for id, file in known.items()]
    return {source.id: source for source in (*existing, *new)}


def normalised(agent: PreparedAgent, sources: Sequence[AgentSource]) -> AgentDefinition:
    """Return the definition, whose knowledge then names only vector stores and the files of the sources."""
    if not agent.knowledge:
        return agent.definition
    stores = [
        one.vector_store_id
        for one in agent.knowledge
        if isinstance(one, AgentKnowledge) and one.vector_store_id is not None
    ]
    knowledge = [{"vector_store_id": store} for store in dict.fromkeys(stores)]
    knowledge += [{"file_id": source.file} for source in sources]
    fields = agent.definition.model_dump(mode="json", exclude_unset=True)
    return AgentDefinition.model_validate({**fields, "knowledge": knowledge})


def plan_rows(connection: Connection[Any], job: Job, *, new: NewStores) -> None:
    """Record ``unchanged`` for the agents that already have this definition and its indexed files. For the
    other agents, plan the stores of their sources. A repeated call leaves planned rows as they are.
    """
    lock(connection, job.organisation)
    connection.execute(SQL["mark_unchanged"], _key(job))
    rows = [row for row in open_rows(connection, job) if row.knowledge is None]
    places = plan(
        connection,
        job.organisation,
        {row.agent: [source["id"] for source in row.sources] for row in rows},
        names={row.agent: row.definition["external_id"] for row in rows},
        new=new,
    )
    planned = [{"number": row.number, "knowledge": places[row.agent]} for row in rows]
    connection.execute(SQL["set_knowledge"], {**_key(job), "rows": Jsonb(planned)})


def open_rows(
    connection: Connection[Any], job: Job, *, after: int = 0, limit: int | None = None
) -> list[ImportRow]:
    """Return the rows without an outcome whose numbers are greater than ``after``, in their order, at most
    ``limit``.
    """
    with connection.cursor(row_factory=class_row(ImportRow)) as cursor:
        return cursor.execute(SQL["open_rows"], {**_key(job), "after": after, "limit": limit}).fetchall()


def row_files(connection: Connection[Any], job: Job) -> list[RowFiles]:
    """Return for each row without an outcome how many of its files are indexed, and how many failed."""
    with connection.cursor(row_factory=class_row(RowFiles)) as cursor:
        return cursor.execute(SQL["row_files"], _key(job)).fetchall()


def save_rows(connection: Connection[Any], job: Job, rows: Iterable[ImportRow]) -> None:
    """Save the agents of these rows, and record the outcome of each row."""
    rows = list(rows)
    values = {"organisation": job.organisation, "agents": [row.agent for row in rows]}
    existing = dict(connection.execute(SQL["existing"], values).fetchall())
    ended = []
    for row in rows:
        definition = AgentDefinition.model_validate(row.definition)
        saved = save_agent(connection, job.organisation, definition, knowledge=row.knowledge or {})
        outcome: AgentOutcome = "updated" if row.agent in existing else "created"
        if existing.get(row.agent) == saved.config_hash:  # for example, by another import
            outcome = "unchanged"
        ended.append({"number": row.number, "outcome": outcome})
    connection.execute(SQL["end_rows"], {**_key(job), "rows": Jsonb(ended)})


def fail_rows(connection: Connection[Any], job: Job, errors: Mapping[int, str | None]) -> None:
    """Record for the rows with these numbers why they failed. None means: because another row failed."""
    ended = [{"number": number, "outcome": "failed", "error": error} for number, error in errors.items()]
    connection.execute(SQL["end_rows"], {**_key(job), "rows": Jsonb(ended)})


def summary(connection: Connection[Any], organisation: str, job: str) -> dict[str, Any]:
    """Return the numbers of agents by outcome, the numbers of files, the tokens that were embedded, and the
    first agents that failed for an error of their own, with these errors.
    """
    key = {"organisation": organisation, "job": job}
    outcomes = dict(connection.execute(SQL["outcomes"], key).fetchall())
    counts = connection.execute(SQL["files"], key).fetchone()
    assert counts is not None
    failures = connection.execute(SQL["failures"], {**key, "limit": FAILURES_SHOWN}).fetchall()
    names = ("number", "line", "external_id", "error")
    return {
        "agents": sum(outcomes.values()),
        **{name: outcomes.get(name, 0) for name in ("created", "updated", "unchanged", "failed")},
        **dict(zip(("files", "files_completed", "files_failed", "tokens_embedded"), counts, strict=True)),
        "failures": [dict(zip(names, failure, strict=True)) for failure in failures],
    }


def end_abandoned_imports(connection: Connection[Any]) -> list[tuple[str, str]]:
    """Record ``failed`` for the rows without an outcome of imports that have ended, of all organisations.
    Delete the stores and the files that were made for agents and that no agent uses.

    Returns:
        the organisation and the SHA-256 of each deleted file, for ``files.release_blobs``.
    """
    released: list[tuple[str, str]] = []
    for (organisation,) in connection.execute(SQL["abandoned_of_all"]).fetchall():
        with connection.transaction():
            lock(connection, organisation)
            connection.execute(SQL["end_abandoned_rows"], {"organisation": organisation})
            released += [(organisation, sha256) for sha256 in release(connection, organisation)]
    return released


def _key(job: Job) -> dict[str, Any]:
    return {"organisation": job.organisation, "job": job.id}
