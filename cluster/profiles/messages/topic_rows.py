"""Reads the vectors of messages, keeps topics with their ids and names, and writes the topic of each message.

The code of the part ``topics`` of profiles calls these functions. A topic keeps its id and its name in each
new model, until too few messages are close to its centroid.

    change = compute_topics(read_topic_data(connection, selection, space))
    save_topics(connection, selection, change)
    topic_values(connection, selection, customers, topics, space)["cust_..."]["top_topic"]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import numpy as np
from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database.queries import queries
from cluster.platform_data.ingestion import share_with_erasures
from cluster.profiles.messages.topics import Floats, agreement, assign, find_topics, keywords, topic_name
from cluster.profiles.profiles import MAX_EVIDENCE, ProfileValue
from cluster.profiles.selection import Selection
from cluster.records import digest

SQL = queries("cluster.profiles.messages", "topics.sql")
#: Maximum number of messages from which topics are computed. The latest messages are used.
MAX_MESSAGES = 100_000
#: Maximum number of messages of a topic from which its keywords are computed. The messages that are closest
#: to the centroid are used.
NAMED_BY = 200
#: Maximum number of topics that a profile names. The customer's most frequent topics are named.
MAX_TOPICS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageTopic:
    """A group of messages that are about the same subject."""

    id: str
    name: str
    #: Words that are frequent in this topic and rare in the other topics.
    keywords: Sequence[str]
    #: (dim,) float32, unit length.
    centroid: Floats


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class TopicData:
    """Holds the data from which topics are computed."""

    organisation: str
    #: Id of the fingerprint of the vectors.
    space: str
    #: Ids of the messages.
    messages: Sequence[str]
    #: (n, dim) float32, unit length.
    vectors: Floats
    #: For each message, the id of the topic that it has so far; None: the message has no topic.
    topics_before: Sequence[str | None]
    #: The topics of the latest model.
    previous: Sequence[MessageTopic]
    #: Number of messages that got no topic from the latest model; 0 if there is no model.
    unassigned_before: int


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class TopicChange:
    """The topics of a new model, and the topic of each message."""

    data: TopicData
    #: New topics have no keywords and no name yet.
    topics: Sequence[MessageTopic]
    #: For each message, the index of its topic in ``topics``; -1: the message has no topic.
    labels: Sequence[int]
    #: Adjusted Rand index of the old and the new topics of the messages that had a topic before; None if no
    #: message had a topic.
    agreement: float | None

    @property
    def version(self) -> str:
        """Version of the model: a hash of the space and of the centroids."""
        centroids = [topic.centroid.tobytes().hex() for topic in self.topics]
        return f"topics-{digest(self.data.space, *centroids, size=6)}"


def read_topics(connection: Connection[Any], organisation: str, space: str) -> list[MessageTopic]:
    """Return the topics of the latest model for vectors of this space, in order of their ids; an empty list
    if there is no model.
    """
    return _latest(connection, organisation, space)[0]


def _latest(connection: Connection[Any], organisation: str, space: str) -> tuple[list[MessageTopic], int]:
    """Return the topics of the latest model, and the number of messages that got no topic from the model."""
    values = {"organisation": organisation, "space": space}
    latest = connection.execute(SQL["latest"], values).fetchone()
    if latest is None:
        return [], 0
    version, unassigned = latest
    rows = connection.execute(SQL["topics"], {**values, "version": version}).fetchall()
    topics = [
        MessageTopic(id=id, name=name, keywords=words, centroid=np.frombuffer(centroid, np.float32))
        for id, name, words, centroid in rows
    ]
    return topics, unassigned


def read_topic_data(connection: Connection[Any], selection: Selection, space: str) -> TopicData:
    """Read the vectors of the latest messages and the topics of the latest model."""
    values = {
        "organisation": selection.organisation,
        "as_of": selection.as_of,
        "space": space,
        "limit": MAX_MESSAGES,
    }
    rows = connection.execute(SQL["vectors"], values).fetchall()
    previous, unassigned = _latest(connection, selection.organisation, space)
    return TopicData(
        organisation=selection.organisation,
        space=space,
        messages=[message for message, _, _ in rows],
        vectors=_vectors([vector for _, vector, _ in rows]),
        topics_before=[topic for _, _, topic in rows],
        previous=previous,
        unassigned_before=unassigned,
    )


def compute_topics(data: TopicData) -> TopicChange:
    """Compute the topics of the messages. The computation takes seconds and needs no database."""
    dim = data.vectors.shape[1]
    before = np.array([topic.centroid for topic in data.previous], dtype=np.float32).reshape(-1, dim)
    places = {topic.id: place for place, topic in enumerate(data.previous)}
    labels_before = np.array([places.get(topic or "", -1) for topic in data.topics_before], dtype=np.int64)
    found = find_topics(data.vectors, before, labels_before, unassigned_before=data.unassigned_before)
    topics = []
    for centroid, place in zip(found.centroids, found.previous, strict=True):
        if place >= 0:
            old = data.previous[place]
            topics.append(MessageTopic(id=old.id, name=old.name, keywords=old.keywords, centroid=centroid))
        else:
            id = f"topic_{digest(data.organisation, data.space, centroid.tobytes().hex())}"
            topics.append(MessageTopic(id=id, name="", keywords=(), centroid=centroid))
    labels = [int(label) for label in found.labels]
    had = [place for place, topic in enumerate(data.topics_before) if topic is not None]
    return TopicChange(
        data=data,
        topics=topics,
        labels=labels,
        agreement=agreement(
            [str(data.topics_before[place]) for place in had],
            [topics[labels[place]].id if labels[place] >= 0 else "" for place in had],
        ),
    )


def save_topics(connection: Connection[Any], selection: Selection, change: TopicChange) -> None:
    """Name the topics, write the topics and the topic of each message, and delete old topics without
    messages, in the caller's transaction. Until the transaction ends, an erasure of data of the organisation
    waits.
    """
    share_with_erasures(connection, selection.organisation)
    data, values = change.data, {"organisation": selection.organisation, "space": change.data.space}
    values["version"] = change.version
    labels = np.array(change.labels, dtype=np.int64)
    named = _named(connection, change, labels)
    counts = np.bincount(labels + 1, minlength=len(named) + 1)
    figures = {
        "as_of": selection.as_of,
        "messages": len(labels),
        "unassigned": int(counts[0]),
        "agreement": change.agreement,
    }
    connection.execute(SQL["save_model"], {**values, **figures})
    rows = {
        "ids": [topic.id for topic in named],
        "names": [topic.name for topic in named],
        "keywords": [",".join(topic.keywords) for topic in named],
        "centroids": [topic.centroid.tobytes() for topic in named],
        "counts": counts[1:].tolist(),
    }
    connection.execute(SQL["save_topics"], {**values, **rows})
    moved = [
        (message, named[label].id)
        for message, label, before in zip(data.messages, change.labels, data.topics_before, strict=True)
        if label >= 0 and named[label].id != before
    ]
    _assign(connection, selection.organisation, moved)
    left = [
        message
        for message, label, before in zip(data.messages, change.labels, data.topics_before, strict=True)
        if label < 0 and before is not None
    ]
    connection.execute(SQL["unassign"], {**values, "messages": left})
    connection.execute(SQL["delete_unused"], values)


def topic_values(
    connection: Connection[Any],
    selection: Selection,
    customers: Sequence[str],
    topics: Sequence[MessageTopic],
    space: str,
) -> dict[str, dict[str, ProfileValue]]:
    """Assign the customers' messages without a topic to the closest topics, if these are close enough.
    Return, for each customer, the values by name.
    """
    values = {
        "organisation": selection.organisation,
        "customers": list(customers),
        "as_of": selection.as_of,
        "space": space,
        "evidence": MAX_EVIDENCE,
    }
    rows = connection.execute(SQL["unassigned"], values).fetchall()
    if rows and topics:
        labels = assign(_vectors([vector for _, vector in rows]), np.array([one.centroid for one in topics]))
        close = [(id, topics[label].id) for (id, _), label in zip(rows, labels, strict=True) if label >= 0]
        _assign(connection, selection.organisation, close)
    with connection.cursor(row_factory=dict_row) as cursor:
        counted = cursor.execute(SQL["of_customers"], values).fetchall()
    found = {customer: list(group) for customer, group in groupby(counted, key=lambda row: row["customer"])}
    return {customer: _values(found.get(customer, [])) for customer in customers}


def topics_over_time(
    connection: Connection[Any], organisation: str, begin: datetime, end: datetime, *, period: str = "week"
) -> list[dict[str, Any]]:
    """Return one row for each topic and each period in UTC in which messages have the topic: ``begin`` of the
    period, ``id`` and ``name`` of the topic, and ``messages``, the number of these messages.

    Args:
        period: ``hour``, ``day``, ``week`` or ``month``.
    """
    values = {"organisation": organisation, "begin": begin, "end": end, "period": period}
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(SQL["over_time"], values).fetchall()


def _named(connection: Connection[Any], change: TopicChange, labels: Any) -> list[MessageTopic]:
    """Return the topics with new keywords. Only a topic that has no name yet gets a new name."""
    data = change.data
    chosen: list[list[str]] = []
    for place, topic in enumerate(change.topics):
        members = np.flatnonzero(labels == place)
        closest = members[np.argsort(-(data.vectors[members] @ topic.centroid), kind="stable")[:NAMED_BY]]
        chosen.append([data.messages[member] for member in closest])
    values = {"organisation": data.organisation, "messages": [id for ids in chosen for id in ids]}
    said = {id: (text, customer) for id, text, customer in connection.execute(SQL["texts"], values)}
    texts = [[said[id][0] for id in ids if id in said] for ids in chosen]
    customers = [[said[id][1] for id in ids if id in said] for ids in chosen]
    return [
        MessageTopic(
            id=topic.id, name=topic.name or topic_name(words), keywords=words, centroid=topic.centroid
        )
        for topic, words in zip(change.topics, keywords(texts, customers), strict=True)
    ]


def _assign(connection: Connection[Any], organisation: str, pairs: Sequence[tuple[str, str]]) -> None:
    """Write the topics of messages. Each pair has the id of a message and the id of its topic."""
    messages, topics = [message for message, _ in pairs], [topic for _, topic in pairs]
    values = {"organisation": organisation, "messages": messages, "topics": topics}
    connection.execute(SQL["assign"], values)


def _vectors(stored: Sequence[bytes]) -> Floats:
    """Return vectors of unit length, (n, dim) float32, from the stored bytes of float16 numbers."""
    if not stored:
        return np.empty((0, 1), dtype=np.float32)
    whole = np.frombuffer(b"".join(stored), dtype=np.float16).reshape(len(stored), -1).astype(np.float32)
    unit: Floats = whole / np.maximum(np.linalg.norm(whole, axis=1, keepdims=True), 1e-12)
    return unit


def _values(rows: Sequence[Mapping[str, Any]]) -> dict[str, ProfileValue]:
    n = sum(row["n"] for row in rows)
    listed = [
        {"topic": row["topic"], "name": row["name"], "n": row["n"], "share": round(row["n"] / n, 4)}
        for row in rows
    ]
    evidence = [id for row in rows for id in row["ids"]][:MAX_EVIDENCE]
    return {
        "topics": ProfileValue(value=listed[:MAX_TOPICS], n=n, evidence=evidence),
        "top_topic": ProfileValue(
            value=rows[0]["name"] if rows else None,
            n=rows[0]["n"] if rows else 0,
            evidence=rows[0]["ids"] if rows else (),
        ),
    }
