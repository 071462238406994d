"""Keeps the knowledge of agents in vector stores: chooses the store of each source, attaches the files of
sources, and deletes what no agent uses.

Bulk imports and the routes of agents call these functions, each in a transaction. The transactions of one
organisation run one after the other, because they decide about the same stores.

    places = plan(connection, "acme", {"agent_1": [source]}, names={"agent_1": "helper"}, new=new_stores)
    attach(connection, "acme", places.values(), before=datetime.now(UTC), attempts=3)
    hashes = release(connection, "acme")          # after agents were changed or deleted
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection

from cluster.agents.placing import Places, SourcePlace, place
from cluster.database.queries import queries
from cluster.documents.files import delete_file
from cluster.documents.vector_stores.attaching import Attachment, attach_many
from cluster.documents.vector_stores.store_files import detach
from cluster.documents.vector_stores.stores import (
    LONGEST_NAME,
    NewStore,
    create_store,
    delete_store,
    get_store,
)
from cluster.engines.contract import Fingerprint
from cluster.errors import NotFound

_FILE = queries("cluster.agents", "knowledge.sql")
SQL = {name: text.replace("{used}", _FILE["used"].rstrip().rstrip(";")) for name, text in _FILE.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentSource:
    """One content that agents know."""

    #: ``src_...``, made from the SHA-256 of the content (``source_id``).
    id: str
    #: Id of a file with this content.
    file: str
    #: True if the file was made for agents. ``release`` deletes such a file if nothing uses the source.
    owned: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class NewStores:
    """How new vector stores of agents are made."""

    #: Fingerprint of the model that computes the vectors of the new stores.
    fingerprint: Fingerprint
    #: Name of the index that holds the vectors. The collection of the fingerprint exists in this index.
    index: str


def source_id(sha256: str) -> str:
    """Return the id of the source whose content has this SHA-256."""
    return f"src_{sha256[:32]}"


def lock(connection: Connection[Any], organisation: str) -> None:
    """Lock the knowledge of the organisation's agents until the transaction ends. If another transaction has
    this lock, wait for the end of that transaction.
    """
    connection.execute(SQL["lock"], {"organisation": organisation})


def stores_of_agents(connection: Connection[Any], organisation: str, stores: Sequence[str]) -> set[str]:
    """Return those of the given ids whose stores contain only knowledge of agents."""
    values = {"organisation": organisation, "stores": list(stores)}
    return {store for (store,) in connection.execute(SQL["stores_of_agents"], values)}


def add_sources(connection: Connection[Any], organisation: str, sources: Iterable[AgentSource]) -> None:
    """Add the sources that do not exist. A source that exists keeps its file."""
    distinct = list({source.id: source for source in sources}.values())
    values = {
        "ids": [source.id for source in distinct],
        "files": [source.file for source in distinct],
        "owned": [source.owned for source in distinct],
    }
    connection.execute(SQL["add_sources"], {"organisation": organisation, **values})


def files_of(connection: Connection[Any], organisation: str, ids: Iterable[str]) -> dict[str, str]:
    """Return, by the id of the source, the id of the file of each of these sources that exists."""
    found = connection.execute(SQL["files"], {"organisation": organisation, "ids": list(ids)})
    return dict(found.fetchall())


def plan(
    connection: Connection[Any],
    organisation: str,
    wanted: Mapping[str, Sequence[str]],
    *,
    names: Mapping[str, str],
    new: NewStores,
) -> dict[str, Places]:
    """Return for each agent the stores in which it is to find its sources, and create the stores that are
    missing. Call ``lock`` first.

    Args:
        wanted: ids of the sources that each agent is to know; the sources exist.
        names: external ids of the agents, for the names of new stores.
        new: how new stores are made.
    """
    ids = {source for sources in wanted.values() for source in sources}
    values = {"organisation": organisation, "ids": list(ids), "agents": list(wanted)}
    present = [
        SourcePlace(agent=agent, source=source, store=store)
        for agent, source, store in connection.execute(SQL["present"], values)
    ]
    placement = place(wanted, present)
    made: dict[str, str] = {}
    for token, agents in placement.new_stores.items():
        store = NewStore(name=_store_name(sorted(names[agent] for agent in agents)), index=new.index)
        made[token] = create_store(connection, organisation, store, fingerprint=new.fingerprint).id
    connection.execute(SQL["add_stores"], {"organisation": organisation, "stores": list(made.values())})
    return {
        agent: {source: made.get(store, store) for source, store in places.items()}
        for agent, places in placement.places.items()
    }


def attach(
    connection: Connection[Any],
    organisation: str,
    places: Iterable[Mapping[str, str]],
    *,
    before: datetime,
    **options: Any,
) -> None:
    """Attach the files of these places to their stores. Files that are attached already stay as
    they are, except files that were not indexed successfully (``before``).

    Args:
        before: a file whose indexing failed or was cancelled is attached again if its last job was submitted
            before this time, or no longer exists.
        options: priority class, priority and attempts of the files' jobs, see ``attach_many``.
    """
    pairs = {pair for one in places for pair in one.items()}
    values = {
        "organisation": organisation,
        "ids": [source for source, _ in pairs],
        "stores": [store for _, store in pairs],
        "before": before,
    }
    by_store: dict[str, list[Attachment]] = {}
    for store, file in connection.execute(SQL["unattached"], values).fetchall():
        by_store.setdefault(store, []).append(Attachment(file=file))
    for store, attachments in by_store.items():
        attach_many(connection, get_store(connection, organisation, store), attachments, **options)


def release(connection: Connection[Any], organisation: str) -> list[str]:
    """Delete the stores of agents, the attachments and the sources that no agent and no open import uses, and
    the files that were made for these sources.

    Returns:
        the SHA-256 of each deleted file; call ``files.release_blobs`` with these hashes after the commit.
    """
    key = {"organisation": organisation}
    lock(connection, organisation)
    stores = [id for (id,) in connection.execute(SQL["unused_stores"], key)]
    connection.execute(SQL["remove_stores"], {**key, "stores": stores})
    for store in stores:
        delete_store(connection, organisation, store)
    for store, file in connection.execute(SQL["unused_files"], key).fetchall():
        detach(connection, get_store(connection, organisation, store), file)
    removed = connection.execute(SQL["remove_sources"], key).fetchall()
    hashes = []
    for file, owned in removed:
        if owned:
            try:
                hashes += [deleted.sha256 for deleted in delete_file(connection, organisation, file)]
            except NotFound:  # the organisation has deleted the file itself
                continue
    return hashes


def _store_name(external_ids: Sequence[str]) -> str:
    """Return the name of a store for these agents."""
    others = "" if len(external_ids) == 1 else f" and {len(external_ids) - 1:,} other agents"
    return f"agent {external_ids[0]}"[: LONGEST_NAME - len(others)] + others
