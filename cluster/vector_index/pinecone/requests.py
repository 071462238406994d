"""Send requests to one Pinecone index, and repeat requests that failed for a temporary reason.

This is the only place that repeats a request to Pinecone. It sends a request at most ``ATTEMPTS`` times, with
random waits between the attempts (full jitter). The client itself sends each request only once (``client``).

    requests = Requests("main", source, pool)
    use = Use(operation=Operation.QUERY, organisation="acme", namespace="acme.vs_1")
    requests.send(lambda client: client.query(...), use)
"""

import os
import time
import weakref
from collections.abc import Callable
from itertools import count
from typing import TypeVar

import structlog
from pinecone import Index
from pinecone.errors import PineconeError
from psycopg_pool import ConnectionPool

from cluster.errors import (
    ClusterError,
    Misconfigured,
    Retryable,
    Throttled,
)
from cluster.event_counts import THROTTLED_CALLS
from cluster.rate_limits import SharedBreaker
from cluster.retrying import Backoff
from cluster.secrets import Secret
from cluster.settings.indexes import IndexSource
from cluster.vector_index.pinecone.client import open_client
from cluster.vector_index.pinecone.errors import translate
from cluster.vector_index.pinecone.limits import RateLimits, Use

log = structlog.get_logger(__name__)

T = TypeVar("T")
#: Maximum number of times that one request is sent: one first attempt and five retries.
ATTEMPTS = 6
#: Waits of writers: 15 s in all at most, and 8 s on average.
BACKOFF = Backoff(first_s=0.5, longest_s=8.0, jitter=True)
#: Waits of searches, which are short because a person waits: 3 s in all at most.
URGENT_BACKOFF = Backoff(first_s=0.1, longest_s=1.6, jitter=True)
#: Maximum seconds for which this module waits if Pinecone asks for a pause: for writers (``LONGEST_PAUSE_S``)
#: and for searches (``LONGEST_URGENT_PAUSE_S``). If Pinecone asks for a longer pause, the caller gets an
#: error and has to call again after the pause. A job can free its slot during that pause.
LONGEST_PAUSE_S, LONGEST_URGENT_PAUSE_S = 15.0, 3.0


class Requests:
    """Sends requests to one index. Safe to call from several threads.

    Do not hold a connection of the pool during a call, because a request takes a connection to wait for its
    turn.

    Args:
        name: name of the index in the settings.
        source: host and key of the index.
        pool: connections to our Postgres, which holds the rate limits.

    Raises:
        Misconfigured: the environment has no key for the index, or the version of ``pinecone`` is not
            supported.
    """

    def __init__(self, name: str, source: IndexSource, pool: ConnectionPool) -> None:
        self._key = Secret(os.environ.get(source.key_env, "").strip())
        if not self._key:
            raise Misconfigured(
                f"the vector index {name!r} on Pinecone needs a key: set the environment variable "
                f"{source.key_env} on every node"
            )
        self._name = name
        self._limits = RateLimits(pool, source)
        self._breaker = SharedBreaker(pool, f"pinecone:{name}")
        self._client = open_client(source, self._key)
        weakref.finalize(self, self._client.close)
        log.info("pinecone_opened", index=name, host=source.host, attempts_of_a_request=ATTEMPTS)

    def send(self, call: Callable[[Index], T], use: Use) -> T:
        """Make a call that sends one request, and return the answer.

        The call is repeated if it fails for a temporary reason, so it must be safe to repeat.

        Raises:
            ProviderUnavailable: no attempt was answered, or all attempts ended in an error of Pinecone's own,
                or the breaker is open.
            Throttled: Pinecone still asks to wait after all attempts, or asks for a long pause, or the rate
                limits have no room.
            Unavailable: our Postgres does not answer.
            Permanent: the request is refused, and no retry helps.
        """
        backoff = URGENT_BACKOFF if use.urgent else BACKOFF
        longest_s = LONGEST_URGENT_PAUSE_S if use.urgent else LONGEST_PAUSE_S
        for attempt in count(1):
            with self._limits.acquire(use):
                answer = self._once(call)
            if not isinstance(answer, ClusterError):
                return answer
            if isinstance(answer, Throttled):
                THROTTLED_CALLS.add("pinecone")
                if answer.retry_after_s:
                    self._limits.pause(use, answer.retry_after_s)
            wait_s = backoff.wait_s(attempt, answer)
            if not isinstance(answer, Retryable) or attempt == ATTEMPTS or wait_s > longest_s:
                raise answer
            log.info("pinecone_retried", index=self._name, attempt=attempt, wait_s=wait_s, reason=str(answer))
            time.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    def _once(self, call: Callable[[Index], T]) -> T | ClusterError:
        """Make the call, and return its answer or the error in which it ended.

        Raises:
            ProviderUnavailable: the breaker is open.
            Unavailable: our Postgres does not answer.
        """
        sent = False
        try:
            with self._breaker.attempt():
                sent = True
                try:
                    return call(self._client)
                except PineconeError as exc:
                    error = translate(exc, self._name, self._key.reveal())
                raise error
        except ClusterError as exc:
            if not sent:
                raise
            return exc
