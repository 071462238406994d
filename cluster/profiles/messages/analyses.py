"""Reads customers' messages that have no analysis yet, and writes the analyses.

An analysis has the language, the sentiment and the vector of one message. An analysis is deleted when its
message is deleted, and when the customer refuses to be profiled. The job that enriches profiles calls these
functions.

    page = read_pending(connection, selection, customers, key, after="", limit=1_000)
    write_analyses(connection, selection, key, [Analysis(message=page[0].id, ...)])
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from cluster.database.queries import queries
from cluster.platform_data.ingestion import share_with_erasures
from cluster.profiles.selection import Selection

SQL = queries("cluster.profiles.messages", "analyses.sql")
#: Maximum number of characters of a message that are analysed.
MAX_CHARACTERS = 2_000
#: A message with fewer characters is read together with the customer's other messages in the conversation,
#: because its own text can be too short to detect the language.
SHORT_CHARACTERS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class AnalysisKey:
    """Says which models make an analysis. A message whose analysis has another key is analysed again."""

    #: Id of the fingerprint of the vectors.
    space: str
    #: Version of the sentiment model.
    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingMessage:
    """A customer's message that has no analysis yet."""

    id: str
    text: str
    #: Texts of the customer's other messages in the conversation, if the text is short; otherwise empty.
    context: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """The language, the sentiment and the vector of one message."""

    #: Id of the message.
    message: str
    #: ISO 639 code of the language; ``und`` if it is unknown.
    language: str
    #: From -1 to 1; None if the language is not English.
    sentiment: float | None
    #: (dim,) float32.
    vector: NDArray[np.float32]


def read_pending(
    connection: Connection[Any],
    selection: Selection,
    customers: Sequence[str],
    key: AnalysisKey,
    *,
    after: str,
    limit: int,
) -> list[PendingMessage]:
    """Return the customers' next messages that have no analysis with this key, in order of the message ids.
    Messages from ``selection.as_of`` on are left out.

    Args:
        customers: ids of customers of the selection.
        after: id of the last message of the previous page; empty for the first page.
        limit: maximum number of messages. If fewer messages are returned, this page is the last one.
    """
    values = {
        "organisation": selection.organisation,
        "customers": list(customers),
        "as_of": selection.as_of,
        "space": key.space,
        "version": key.version,
        "characters": MAX_CHARACTERS,
        "short": SHORT_CHARACTERS,
        "after": after,
        "limit": limit,
    }
    rows = connection.execute(SQL["pending"], values).fetchall()
    return [PendingMessage(id=id, text=text, context=context) for id, text, context in rows]


def write_analyses(
    connection: Connection[Any], selection: Selection, key: AnalysisKey, analyses: Sequence[Analysis]
) -> int:
    """Write the analyses in the caller's transaction. Return the number of written analyses.

    An analysis is not written if its message no longer exists, or if its customer refuses to be profiled or
    is being erased. Until the transaction ends, an erasure of data of the organisation waits.
    """
    share_with_erasures(connection, selection.organisation)
    values = {
        "organisation": selection.organisation,
        "unsaid": not selection.need_consent,
        "space": key.space,
        "version": key.version,
        "messages": [one.message for one in analyses],
        "languages": [one.language for one in analyses],
        "sentiments": [one.sentiment for one in analyses],
        "vectors": [one.vector.astype(np.float16).tobytes() for one in analyses],
    }
    return connection.execute(SQL["write"], values).rowcount


def delete_analyses_without_consent(connection: Connection[Any], selection: Selection) -> int:
    """Delete the analyses of messages of customers who are not allowed to have a profile. Return the number
    of deleted analyses.

    If a customer refuses, a trigger deletes the analyses. This function also finds the analyses that were
    made before ``need_consent`` was set.
    """
    values = {"organisation": selection.organisation, "unsaid": not selection.need_consent}
    return connection.execute(SQL["delete_without_consent"], values).rowcount
