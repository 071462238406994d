"""Record the usage of requests. The usage of each second is summed, and a thread writes the sums in one
transaction.

No request waits for the writing. While the database does not answer, the sums keep growing. When the process
ends, it writes all sums; after ``kill -9``, the sums of the last second are lost.

    usage = UsageRecorder(write)
    usage.add("acme", UsageSource.HTTP, "all-MiniLM-L6-v2", tokens=12)
"""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from uuid import uuid4

import structlog

from cluster.errors import Retryable
from cluster.usage.events import EMBEDDING, UsageEvent, UsageSource

log = structlog.get_logger(__name__)

#: Seconds whose requests become one event for each organisation, source, model and kind.
INTERVAL_S = 1.0
#: Seconds between attempts while the database does not answer.
RETRY_S = 5.0

Write = Callable[[Sequence[UsageEvent]], None]
Key = tuple[str, UsageSource, str, str]


class UsageRecorder:
    """Sums the usage, and writes the sums to the database in a thread. Any thread may call the methods.

    Args:
        write: writes events to the database; it may be called again with the same events.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._sums: Counter[Key] = Counter()
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
        self._thread.start()

    def add(
        self, organisation: str, source: UsageSource, model: str, *, tokens: int, kind: str = EMBEDDING
    ) -> None:
        """Add the tokens of a request to the sums."""
        with self._lock:
            self._sums[organisation, source, model, kind] += tokens
        if not self._some.is_set():
            self._some.set()

    def close(self) -> None:
        """Write all sums, in one attempt, and end the thread. If the attempt fails, the sums are lost, and
        the loss is logged.
        """
        self._closing.set()
        self._some.set()
        self._thread.join()

    def _run(self) -> None:
        events: list[UsageEvent] = []
        while not self._closing.is_set():
            self._some.wait()
            self._closing.wait(RETRY_S if events else INTERVAL_S)
            # An unconfirmed commit may have written the events, so the events keep their ids until a commit
            # is confirmed.
            events = events or self._taken()
            if self._written(events):
                events = []
            else:
                self._some.set()
        left = events + self._taken()
        if left and not self._written(left):
            log.error("usage_lost", tokens=sum(event.quantity for event in left))

    def _taken(self) -> list[UsageEvent]:
        with self._lock:
            sums, self._sums = self._sums, Counter()
            self._some.clear()
        return [
            UsageEvent(
                organisation=organisation,
                id=f"use_{uuid4().hex}",
                source=source,
                model=model,
                kind=kind,
                quantity=tokens,
            )
            for (organisation, source, model, kind), tokens in sums.items()
        ]

    def _written(self, events: Sequence[UsageEvent]) -> bool:
        try:
            if events:
                self._write(events)
        except Retryable as exc:
            log.warning("usage_not_written", events=len(events), reason=str(exc))
            return False
        except Exception:
            # These events are given up, because later events must not wait for events that cannot be written.
            log.exception("usage_refused", events=[repr(event) for event in events])
        return True
