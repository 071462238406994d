"""Saves and reads precomputed contexts. A context belongs to an agent, to the exact options of its search,
and to the versions of the searched stores.

    key = context_key(stores, fingerprint, options)
    save_context(connection, "acme", agent, key, context)
    contexts_of_key(connection, "acme", key)
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection
from psycopg.types.json import Jsonb

from cluster.database.queries import queries
from cluster.documents.vector_stores.store_versions import StoreVersion
from cluster.jobs.kinds.inputs import MAX_CONTEXTS
from cluster.records import digest
from cluster.retrieval import RetrievalOptions

SQL = queries("cluster.precomputed", "contexts.sql")


@dataclass(frozen=True, kw_only=True, slots=True)
class ContextChunk:
    """A chunk of a context. Its text and its attributes are read from the store when the context is used."""

    id: str
    #: Id of the vector store.
    store: str
    score: float
    similarity: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PrecomputedContext:
    """The result of a search that was run before its question is asked."""

    #: The question; None if the question comes from customers' messages, which are not stored here.
    question: str | None
    #: Vector of the question: (dim,) float32, unit length.
    vector: NDArray[np.float32]
    #: The chunks, best first.
    chunks: Sequence[ContextChunk]
    #: Seconds that the search took.
    seconds: float
    #: The versions of the searched stores, as ``versions_of`` returns them.
    versions: str


def context_key(stores: Iterable[str], fingerprint: str, options: RetrievalOptions) -> str:
    """Return a digest that is equal for equal searches of the same stores with the same model.

    Args:
        stores: ids of the searched stores, in any order.
        fingerprint: id of the fingerprint of the model that embeds the questions.
        options: the options of the search.
    """
    return digest("context", *sorted(stores), fingerprint, repr(options))


def versions_of(versions: Mapping[str, StoreVersion]) -> str:
    """Return the versions of stores as one text, which differs as soon as one version differs."""
    return ";".join(
        f"{store} {version.created_at.timestamp()!r} {version.changes}"
        for store, version in sorted(versions.items())
    )


def context_id(key: str, versions: str, vector: NDArray[np.float32]) -> str:
    """Return the id of the context with this key, these versions of the stores and this vector."""
    return digest("context", key, versions, np.asarray(vector, "<f4").tobytes().hex())


def contexts_of_key(connection: Connection[Any], organisation: str, key: str) -> list[PrecomputedContext]:
    """Return the contexts of this key, of all versions of the stores, at most ``2 * MAX_CONTEXTS``."""
    values = {"organisation": organisation, "key": key, "limit": 2 * MAX_CONTEXTS}
    return [
        PrecomputedContext(
            question=question,
            vector=np.frombuffer(vector, "<f4"),
            chunks=[ContextChunk(**chunk) for chunk in chunks],
            seconds=seconds,
            versions=versions,
        )
        for versions, question, vector, chunks, seconds in connection.execute(SQL["of_key"], values)
    ]


def current_ids(connection: Connection[Any], organisation: str, agent: str, ids: Collection[str]) -> set[str]:
    """Return the ids in ``ids`` that are ids of contexts of the agent."""
    values = {"organisation": organisation, "agent": agent, "ids": list(ids)}
    return {id for (id,) in connection.execute(SQL["current_ids"], values)}


def save_context(
    connection: Connection[Any], organisation: str, agent: str, key: str, context: PrecomputedContext
) -> str:
    """Save a context of the agent, and return its id. A context with the same id is not replaced."""
    id = context_id(key, context.versions, context.vector)
    chunks = [
        {"id": one.id, "store": one.store, "score": one.score, "similarity": one.similarity}
        for one in context.chunks
    ]
    values = {
        "organisation": organisation,
        "agent": agent,
        "id": id,
        "key": key,
        "versions": context.versions,
        "question": context.question,
        "vector": np.asarray(context.vector, "<f4").tobytes(),
        "chunks": Jsonb(chunks),
        "seconds": context.seconds,
    }
    connection.execute(SQL["save"], values)
    return id


def keep_only(connection: Connection[Any], organisation: str, agent: str, ids: Collection[str]) -> int:
    """Delete the agent's contexts whose ids are not in ``ids``. Return the number of deleted contexts."""
    values = {"organisation": organisation, "agent": agent, "ids": list(ids)}
    return connection.execute(SQL["keep_only"], values).rowcount


def forget_if_erased(connection: Connection[Any], organisation: str, agent: str, *, since: datetime) -> None:
    """Delete the agent's contexts of customers' messages if a customer was erased since this time."""
    values = {"organisation": organisation, "agent": agent, "since": since}
    connection.execute(SQL["forget_if_erased"], values)
