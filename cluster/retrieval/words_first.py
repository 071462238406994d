"""Rank the chunks of a search by words while the model embeds its questions.

The search by words needs no vector, and the database and the model use different cores. So ``retrieve``
begins the search as soon as it waits for the vectors. The thread of the search keeps its transaction open
until it has them, because all rankings must see one state of the stores.

    with words_first(terms, in_database, wanted=True) as words:
        vectors = await embed(questions)
        found = await words.found(AskedSearch(terms=terms, embedded=vectors))      # None: search as usual
"""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.retrieval.asked_search import AskedSearch, FoundHits, SearchTerms, search_by_words_first
from cluster.retrieval.contract import RunInDatabase

#: Seconds for which a search keeps its connection and waits for the vectors. A search that waits longer is
#: repeated as a whole, so that slow models do not use up the connections.
VECTORS_WITHIN_S = 0.05
#: Maximum number of searches of this process that wait for vectors at the same time. With more searches, all
#: cores have work, and the connections are needed for other work.
MAX_WAITING = 2


class WordsFirst:
    """One search, which begins before its vectors are known. ``words_first`` makes and ends it."""

    #: Number of searches of this process that may wait for their vectors now.
    waiting = 0

    def __init__(self, terms: SearchTerms, in_database: RunInDatabase, *, wanted: bool) -> None:
        self._terms = terms
        self._in_database = in_database
        #: The search with its vectors; None if the search is not needed any more.
        self._asked: Future[AskedSearch | None] = Future()
        self._begun = False
        # A task begins when the current task waits. If the vectors are in the cache, that is too late, and
        # nothing is searched ahead.
        self._task: asyncio.Task[FoundHits | None] | None = None
        if wanted and self.waiting < MAX_WAITING:
            WordsFirst.waiting += 1
            self._task = asyncio.create_task(self._search())

    async def found(self, asked: AskedSearch) -> FoundHits | None:
        """Return what the search finds; None if it did not begin, or did not wait so long."""
        if self._task is None:
            return None
        if not self._begun:
            self._task.cancel()
            return None
        self._asked.set_result(asked)
        return await self._task

    def end(self) -> None:
        """Let the thread of the search end, if it still waits for vectors."""
        if not self._asked.done():
            self._asked.set_result(None)
        if self._task is not None:
            WordsFirst.waiting -= 1
            self._task.cancel()
            self._task.add_done_callback(_without_error)

    async def _search(self) -> FoundHits | None:
        self._begun = True
        return await self._in_database(self._ranked)

    def _ranked(self, pool: ConnectionPool, indexes: ChunkIndexes) -> FoundHits | None:
        return search_by_words_first(pool, indexes, self._terms, self._vectors)

    def _vectors(self) -> AskedSearch | None:
        try:
            return self._asked.result(VECTORS_WITHIN_S)
        except TimeoutError:
            return None


def _without_error(task: asyncio.Task[FoundHits | None]) -> None:
    """Take the error of a search that is not needed any more, so that asyncio does not log it."""
    if not task.cancelled():
        task.exception()


@contextmanager
def words_first(terms: SearchTerms, in_database: RunInDatabase, *, wanted: bool) -> Iterator[WordsFirst]:
    """Begin the search by words as soon as the block waits, and end it with the block.

    Args:
        terms: what is searched.
        in_database: runs the search in a thread.
        wanted: False if the search has no words, or needs no vectors from a model.
    """
    words = WordsFirst(terms, in_database, wanted=wanted)
    try:
        yield words
    finally:
        words.end()
