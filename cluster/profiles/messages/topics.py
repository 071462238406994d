"""Finds topics: groups of messages whose vectors are close to each other. This module needs no database.

Topics are stable, because a run begins with the centroids of the previous run, and adds topics only if many
more messages than in the previous run are not close to any of these centroids. ``topic_rows`` reads the
vectors from the database, and keeps the ids and the names of the topics.

    found = find_topics(vectors, previous)
    found.labels                 # (n,) int: index of each message's topic, or -1
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

#: Minimum cosine of a message's vector and the centroid of its topic. Vectors of all-MiniLM-L6-v2 that have
#: nothing in common have a cosine of about 0.1.
MIN_SIMILARITY = 0.35
#: Two centroids with at least this cosine count as one topic.
SAME_TOPIC = 0.85
#: Minimum number of messages of a new topic.
MIN_MESSAGES = 20
#: A topic of the previous run is kept if it has at least this share of ``MIN_MESSAGES``, so that a topic of
#: about ``MIN_MESSAGES`` messages does not disappear and return.
MIN_KEPT_SHARE = 0.5
#: New topics are looked for only if at least this share of all messages has no topic. Before this check, the
#: first search of a run subtracts the number of messages that the previous run left without a topic.
MIN_NEW_SHARE = 0.05
#: Numbers of new topics that are tried. The number with the best silhouette score is used.
COUNTS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
#: ``MAX_FITTED`` is the maximum number of messages from which new topics are computed. ``MAX_JUDGED`` is the
#: maximum number of these messages from which a silhouette score is computed.
MAX_FITTED, MAX_JUDGED = 5_000, 1_500
#: Number of rounds, each of which moves every centroid to the mean of its messages.
ROUNDS = 5
#: Maximum number of times that new topics are looked for among the messages without a topic. The first
#: clusters of very different messages are few and large, and leave many messages without a topic.
SEARCHES = 6
#: A message leaves its topic for another topic only if the cosine to the other topic is higher by at least
#: this number, or if the old topic is no longer close.
STAY_MARGIN = 0.1
#: Maximum number of keywords of a topic, and maximum number of keywords in its name.
KEYWORDS, NAME_WORDS = 8, 3
#: A keyword occurs in messages of at least this number of customers, so that it does not identify a person.
MIN_CUSTOMERS = 3
#: Words of three or more letters, without digits.
WORDS = r"(?u)\b[^\W\d_]{3,}\b"

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundTopics:
    """The topics of some messages."""

    #: (k, dim) float32, unit length.
    centroids: Floats
    #: For each topic, its index among the previous topics; -1: a new topic.
    previous: Labels
    #: (n,) int64: index of the topic of each message; -1: no topic is close.
    labels: Labels


def assign(vectors: Floats, centroids: Floats) -> Labels:
    """Return the index of the closest topic of each message, (n,) int64; -1 if no topic is close enough."""
    if not len(centroids):
        return np.full(len(vectors), -1)
    similarity = vectors @ centroids.T
    labels = similarity.argmax(axis=1)
    return np.where(similarity[np.arange(len(vectors)), labels] >= MIN_SIMILARITY, labels, -1)


def find_topics(
    vectors: Floats,
    previous: Floats,
    before: Labels | None = None,
    *,
    unassigned_before: int = 0,
    seed: int = 0,
) -> FoundTopics:
    """Return the topics of the messages.

    Args:
        vectors: (n, dim) float32, unit length.
        previous: (k, dim) float32, the centroids of the previous run; (0, dim) in the first run.
        before: (n,) int64, the index of each message's old topic in ``previous``; -1: the message had no
            topic. None: the old topics of the messages have no influence.
        unassigned_before: number of messages that had no topic after the previous run.
        seed: seed of all random choices. The same arguments always give the same topics.
    """
    centroids, places = previous, np.arange(len(previous))
    least_new = max(MIN_MESSAGES, MIN_NEW_SHARE * len(vectors))
    for search in range(SEARCHES):
        centroids = _settled(vectors, centroids)
        rest = vectors[assign(vectors, centroids) < 0]
        if len(rest) - (unassigned_before if search == 0 else 0) < least_new:
            break
        new = _large(rest, _distinct(_clusters(rest, seed), centroids))
        if not len(new):
            break
        centroids = np.vstack([centroids, new])
        places = np.concatenate([places, np.full(len(new), -1)])
    centroids = _settled(vectors, centroids)
    least = np.where(places < 0, MIN_MESSAGES, MIN_KEPT_SHARE * MIN_MESSAGES)
    kept = np.bincount(assign(vectors, centroids) + 1, minlength=len(centroids) + 1)[1:] >= least
    centroids, places = centroids[kept], places[kept]
    labels = assign(vectors, centroids)
    if before is not None:
        labels = _sticky(vectors, centroids, labels, _new_places(before, places))
    return FoundTopics(centroids=centroids, previous=places, labels=labels)


def agreement(before: Sequence[str], now: Sequence[str]) -> float | None:
    """Return the adjusted Rand index of two assignments of the same messages; None for no messages."""
    from sklearn.metrics import adjusted_rand_score  # noqa: PLC0415  workers that find no topics do not load it

    return float(adjusted_rand_score(before, now)) if len(before) else None


def keywords(texts: Sequence[Sequence[str]], customers: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the keywords of each topic: words and pairs of words that are frequent in the topic and rare in
    the other topics, the best keyword first. At least ``MIN_CUSTOMERS`` customers use each keyword.

    The score is the class-based TF-IDF of Grootendorst (arXiv 2203.05794).

    Args:
        texts: for each topic, texts of its messages.
        customers: for each of these texts, the id of its customer.
    """
    from sklearn.feature_extraction.text import CountVectorizer  # noqa: PLC0415  see ``agreement``

    whole = [text for topic in texts for text in topic]
    if not whole:
        return [[] for _ in texts]
    vectoriser = CountVectorizer(stop_words="english", token_pattern=WORDS, ngram_range=(1, 2), binary=True)
    try:
        counts = vectoriser.fit_transform(whole).tocsr()
    except ValueError:  # no text has a word that is not a stop word
        return [[] for _ in texts]
    words = vectoriser.get_feature_names_out()
    shared = _customers_of_words(counts, [one for topic in customers for one in topic]) >= MIN_CUSTOMERS
    bounds = np.cumsum([0, *map(len, texts)])
    frequencies = np.vstack([np.asarray(counts[start:end].sum(axis=0))[0] for start, end in pairwise(bounds)])
    total = frequencies.sum(axis=0)
    shares = frequencies / np.maximum(frequencies.sum(axis=1, keepdims=True), 1)
    scores = shares * np.log1p(frequencies.sum(axis=1).mean() / np.maximum(total, 1)) * shared
    best = [np.argsort(-row, kind="stable")[:KEYWORDS] for row in scores]
    return [
        [str(words[place]) for place in places if row[place] > 0]
        for row, places in zip(scores, best, strict=True)
    ]


def topic_name(words: Sequence[str]) -> str:
    """Return a name made from keywords; ``other`` without keywords. A keyword is left out if it is a part of
    a keyword in the name, or if a keyword in the name is a part of it.
    """
    named: list[str] = []
    for word in words:
        if not any(word in other.split() or other in word.split() for other in named):
            named.append(word)
    return ", ".join(named[:NAME_WORDS]) or "other"


def _customers_of_words(counts, customers: Sequence[str]) -> Labels:  # type: ignore[no-untyped-def]
    """Return the number of customers that use each word.

    Args:
        counts: sparse matrix (texts, words).
        customers: for each text, the id of its customer.
    """
    _, numbers = np.unique(np.array(customers), return_inverse=True)
    found = counts.tocoo()
    pairs = np.unique(np.stack([found.col.astype(np.int64), numbers[found.row]]), axis=1)
    return np.bincount(pairs[0], minlength=counts.shape[1])


def _settled(vectors: Floats, centroids: Floats) -> Floats:
    """Return the centroids after ``ROUNDS`` rounds of ``_moved``."""
    for _ in range(ROUNDS if len(centroids) else 0):
        centroids = _moved(vectors, centroids)
    return centroids


def _moved(vectors: Floats, centroids: Floats) -> Floats:
    """Return the centroids after one round: each centroid moves to the mean of its messages, scaled to unit
    length. A centroid without messages does not move.
    """
    labels = assign(vectors, centroids)
    moved = centroids.copy()
    for place in np.unique(labels[labels >= 0]):
        moved[place] = vectors[labels == place].mean(axis=0)
    return _unit(moved)


def _clusters(vectors: Floats, seed: int) -> Floats:
    """Cluster the vectors with each number of clusters in ``COUNTS`` that is possible, and return the
    centroids of the clusters with the best silhouette score. With too few vectors for two clusters, return
    one centroid.
    """
    from sklearn.cluster import KMeans  # noqa: PLC0415  see ``agreement``
    from sklearn.metrics import silhouette_score  # noqa: PLC0415  see ``agreement``

    random = np.random.default_rng(seed)
    sample = _sample(vectors, MAX_FITTED, random)
    judged = random.choice(len(sample), size=min(MAX_JUDGED, len(sample)), replace=False)
    best, found = -1.0, _unit(sample.mean(axis=0, keepdims=True))
    for count in COUNTS:
        if count * MIN_MESSAGES > len(sample):
            break
        fitted = KMeans(count, n_init=1, random_state=seed).fit(sample)
        labels = fitted.labels_[judged]
        if len(np.unique(labels)) < 2:
            continue
        silhouette = silhouette_score(sample[judged], labels, metric="cosine")
        if silhouette > best:
            best, found = silhouette, _unit(fitted.cluster_centers_.astype(np.float32))
    return _moved(vectors, found)


def _large(vectors: Floats, centroids: Floats) -> Floats:
    """Return the centroids that have at least ``MIN_MESSAGES`` of the vectors close to them."""
    counts = np.bincount(assign(vectors, centroids) + 1, minlength=len(centroids) + 1)[1:]
    return centroids[counts >= MIN_MESSAGES]


def _new_places(before: Labels, places: Labels) -> Labels:
    """Return the index of each message's old topic among the new topics; -1 if the old topic no longer exists
    or the message had no topic.
    """
    new = {int(old): place for place, old in enumerate(places) if old >= 0}
    return np.array([new.get(int(label), -1) for label in before], dtype=np.int64)


def _sticky(vectors: Floats, centroids: Floats, labels: Labels, old: Labels) -> Labels:
    """Return the labels. A message keeps its old topic if that topic is almost as close as the new topic."""
    had = np.flatnonzero((old >= 0) & (old != labels))
    stayed = np.einsum("nd,nd->n", vectors[had], centroids[old[had]])
    best = (vectors[had] @ centroids.T).max(axis=1, initial=-1.0)
    keeps = had[(stayed > best - STAY_MARGIN) & (stayed >= MIN_SIMILARITY - STAY_MARGIN / 2)]
    labels = labels.copy()
    labels[keeps] = old[keeps]
    return labels


def _distinct(new: Floats, known: Floats) -> Floats:
    """Return the new centroids that are not the same topic as a known centroid or an earlier new centroid."""
    kept: list[Floats] = []
    for centroid in new:
        others = np.vstack([known, *(one[None] for one in kept)])
        if not len(others) or (others @ centroid).max() < SAME_TOPIC:
            kept.append(centroid)
    return np.array(kept, dtype=np.float32).reshape(-1, known.shape[1])


def _sample(vectors: Floats, most: int, random: np.random.Generator) -> Floats:
    if len(vectors) <= most:
        return vectors
    return vectors[random.choice(len(vectors), size=most, replace=False)]


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit
