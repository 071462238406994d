"""Wait until searches in a namespace see the writes of this process.

Pinecone numbers the writes of a namespace (log sequence numbers). The answer to a write has the number of the
write, and the answer to a query has the number of the last write that the query has seen. This module
compares these numbers. It does not look for the ids with fetches, because a vector that a fetch returns may
still be missing in queries.
"""

import threading
import time
from collections import OrderedDict

from pinecone import ResponseInfo

from cluster.errors import ProviderUnavailable
from cluster.vector_index.collections import Collection
from cluster.vector_index.pinecone.limits import Use
from cluster.vector_index.pinecone.requests import Requests

#: Maximum number of namespaces whose last write is remembered.
MAX_NAMESPACES = 10_000
#: Seconds between two queries: ``FIRST_PAUSE_S`` at first, then longer, up to ``LONGEST_PAUSE_S``.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 1.0


class Visibility:
    """Remembers the number of this process's last write in each namespace.

    Safe to use from several threads.
    """

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._lock = threading.Lock()
        self._last_write: OrderedDict[str, int] = OrderedDict()

    def wrote(self, namespace: str, answer: ResponseInfo | None) -> None:
        """Remember the number of a write, which is in the headers of the answer."""
        number = None if answer is None else answer.lsn_committed
        if number is None:
            return
        with self._lock:
            self._last_write[namespace] = max(number, self._last_write.pop(namespace, number))
            if len(self._last_write) > MAX_NAMESPACES:
                self._last_write.popitem(last=False)

    def searches_see_writes(self, use: Use, collection: Collection, deadline: float) -> bool:
        """Wait until a query has seen the last write of this process.

        Return True after this query. Return False if no number of a write in the namespace is known, or if
        the answers to queries have no numbers, because the numbers can then not be compared.

        Args:
            use: a query in the namespace.
            deadline: value of ``time.monotonic()``.

        Raises:
            ProviderUnavailable: queries do not see the write before the deadline.
        """
        with self._lock:
            written = self._last_write.get(use.namespace)
        if written is None:
            return False
        direction, pause_s = [1.0, *[0.0] * (collection.dim - 1)], FIRST_PAUSE_S
        while True:
            answer = self._requests.send(
                lambda client: client.query(vector=direction, top_k=1, namespace=use.namespace), use
            )
            if answer.response_info is None or answer.response_info.lsn_reconciled is None:
                return False
            if answer.response_info.is_reconciled(written):
                return True
            if time.monotonic() > deadline:
                raise ProviderUnavailable(
                    f"searches in {use.namespace} on Pinecone do not see the last write in time; the "
                    "vectors are written, and writing them again is safe"
                )
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
