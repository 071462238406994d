"""A cache of search results. If a search is equal to an earlier search and its vector store has not changed,
the earlier result is returned.

Each replica has its own cache. ``retrieve`` reads the version of the store first, and looks for the result
under that version. A version changes in the transaction that changes the store, so a search that begins after
a write was answered never gets a result from before the write.

    cache = ResultCache(64 * MIB)
    key = key_of(questions, [embedded], options)
    cache.put(found, key, chunks)
    cache.get(found, key)                           # the chunks, until the store changes
"""

import sys
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from cluster.documents.vector_stores.store_versions import StoreVersion, VersionedStore
from cluster.retrieval.contract import QueryVectors, RetrievalOptions, RetrievedChunk

#: Estimated memory in bytes: of an entry without its chunks, and of a chunk without its strings.
ENTRY_BYTES, CHUNK_BYTES = 600, 400
#: Memory of an attribute besides its characters in JSON, in bytes.
ATTRIBUTE_BYTES = 150
#: Organisation and id of a store.
StoreKey = tuple[str, str]


@dataclass(slots=True)
class ResultCacheStats:
    """The statistics of a cache. All values except ``bytes`` are counters, which only grow."""

    #: Number of searches that were answered from the cache.
    hits: int = 0
    #: Number of searches that were run because the cache did not have the result.
    misses: int = 0
    #: Estimated memory of the current entries, in bytes.
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Entry:
    chunks: Sequence[RetrievedChunk]
    version: StoreVersion
    bytes: int


class ResultCache:
    """A cache that removes the least recently used results first. When a search has seen a newer version of a
    store, the cache removes the older results of that store. Use the cache in one thread only.

    Args:
        most_bytes: maximum memory; 0 means that nothing is kept.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._entries: OrderedDict[tuple[StoreKey, bytes], _Entry] = OrderedDict()
        #: For each store with entries: the newest version that a search has seen, and the keys of the
        #: entries.
        self._stores: dict[StoreKey, tuple[StoreVersion, set[bytes]]] = {}
        self.stats = ResultCacheStats()

    def get(self, found: VersionedStore, key: bytes) -> Sequence[RetrievedChunk] | None:
        """Return the result of an equal search of this version of the store; None if the cache has no such
        result.
        """
        if not self._most:
            return None
        place = _place(found)
        self._forget_older(place, found.version)
        entry = self._entries.get((place, key))
        if entry is None or entry.version != found.version:
            self.stats.misses += 1
            return None
        self._entries.move_to_end((place, key))
        self.stats.hits += 1
        return entry.chunks

    def put(self, found: VersionedStore, key: bytes, chunks: Sequence[RetrievedChunk]) -> None:
        """Keep the result of a search that began while the store had this version.

        Nothing is kept if the result is too large, the key is in the cache, or a newer version was seen.
        """
        place, cost = _place(found), ENTRY_BYTES + sum(map(_cost, chunks))
        if cost > self._most:
            return
        self._forget_older(place, found.version)
        version, keys = self._stores.setdefault(place, (found.version, set()))
        if version != found.version or key in keys:  # a newer version was seen, or an equal search was faster
            return
        keys.add(key)
        self._entries[place, key] = _Entry(chunks, version, cost)
        self.stats.bytes += cost
        while self.stats.bytes > self._most:
            self._remove(*next(iter(self._entries)))

    def __len__(self) -> int:
        return len(self._entries)

    def _forget_older(self, place: StoreKey, version: StoreVersion) -> None:
        known = self._stores.get(place)
        if known is not None and known[0] < version:
            for key in list(known[1]):
                self._remove(place, key)

    def _remove(self, place: StoreKey, key: bytes) -> None:
        self.stats.bytes -= self._entries.pop((place, key)).bytes
        keys = self._stores[place][1]
        keys.remove(key)
        if not keys:
            del self._stores[place]


def key_of(
    questions: Sequence[str],
    embedded: Sequence[QueryVectors],
    options: RetrievalOptions,
    *,
    others: Sequence[VersionedStore] = (),
) -> bytes:
    """Return 32 bytes that identify a search (BLAKE2b, RFC 7693): vectors, texts, options and other stores.

    Args:
        questions: the texts of the search.
        embedded: the vectors of the questions, of each model.
        options: the options of the search.
        others: the stores that are searched together with the store of the entry, with their versions. So a
            result of an older version of such a store is never found again.
    """
    models = [(one.fingerprint, one.vectors.shape) for one in embedded]
    stores = [(one.store.id, one.version) for one in others]
    asked = repr((list(questions), options, models, stores))
    digest = blake2b(asked.encode("utf-8", "surrogatepass"), digest_size=32)
    for one in embedded:
        digest.update(one.vectors.tobytes())
    return digest.digest()


def _place(found: VersionedStore) -> StoreKey:
    return found.store.organisation, found.store.id


def _cost(chunk: RetrievedChunk) -> int:
    """Return the memory of a chunk in bytes, estimated."""
    names = (chunk.id, chunk.store, chunk.file, chunk.filename, *chunk.keywords)
    texts = (chunk.text, chunk.question, chunk.snippet)
    attributes = sum(ATTRIBUTE_BYTES + sys.getsizeof(value) for value in chunk.attributes.values())
    return CHUNK_BYTES + attributes + sum(map(sys.getsizeof, (*names, *texts)))
