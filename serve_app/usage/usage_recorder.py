"""Record the usage of requests. A request is counted if it was answered.

A request counts as answered from the moment at which the first byte of the body of its answer is sent, with a
status below 400. Directly before this moment, its work is appended to a local file, in one system call. So
``kill -9`` of the process loses no usage of an answered request, and a request without an answer costs
nothing. A thread writes the file to the disk, and the sums of each batch to the database, within a second.
Files that a dead process left are sent by the next process, or by any other process of the machine.

While the database does not answer, the usage waits in files. If a file cannot be written, because the disk is
full or ``CLUSTER_USAGE_BYTES`` is reached, the usage waits in memory, and the log and a metric say so.

    usage = UsageRecorder(write, settings.home / "usage", max_bytes=settings.usage_bytes)
    with usage.of_request() as request:
        usage.add("acme", UsageSource.HTTP, "all-MiniLM-L6-v2", tokens=12)
        request.answered()
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from uuid import uuid4

import structlog

from cluster.budgets.reservations import HeldReservation
from cluster.organisations.caller import current_caller, current_key
from cluster.usage.events import EMBEDDING, REQUEST, UsageSource
from serve_app.usage.usage_batch import UsageBatch
from serve_app.usage.usage_sender import UsageSender, UsageStats, WriteUsage
from serve_app.usage.write_ahead import UsageFolder, Use

log = structlog.get_logger(__name__)

#: Seconds whose requests become one event for each group. With the time that the transaction takes, usage is
#: in the database within a second.
INTERVAL_S = 0.75
#: Seconds after which the thread looks for files of dead processes, even if there are no requests.
IDLE_S = 30.0
#: While the database does not answer, a file with this number of bytes is replaced by its sums.
FILE_BYTES = 4 * 1024 * 1024


class RequestUsage:
    """The work for one request. It is recorded when the request is answered."""

    def __init__(self, recorder: "UsageRecorder", organisation: str, key: str | None) -> None:
        self._recorder = recorder
        self._organisation, self._key = organisation, key
        #: The agent of the request; None if the request works for no agent.
        self._agent: str | None = None
        self._uses: list[Use] = []
        self._held: list[HeldReservation] = []
        self._recorded = False

    def add(self, use: Use, agent: str | None = None) -> None:
        """Add work for the agent. Work that is added after the answer has begun is recorded at once."""
        self._agent = agent or self._agent
        self._uses.append(use)
        if self._recorded:
            self._record()

    def settle(self, held: HeldReservation) -> None:
        """Return the reservation to the budgets in the transaction that writes the work. If the work is not
        recorded, return the reservation when the request ends.
        """
        self._held.append(held)
        if self._recorded:
            self._record()

    def end(self) -> None:
        """Return the reservations of work that was not recorded."""
        if self._held:
            held, self._held = self._held, []
            self._recorder.record(self._organisation, self._key, [], held)

    def answered(self) -> None:
        """Record the request and its work, because the answer begins now. Further calls have no effect.

        The event of the request has the source and the model of the first work for the request.
        """
        if self._recorded:
            return
        source, model = self._uses[0][:2] if self._uses else (UsageSource.HTTP, None)
        self._uses.append((source, model, REQUEST, 1))
        self._record()

    def abandoned(self) -> None:
        """Record the work that was done, because the client disconnected. If no answer had begun, the request
        itself is not counted.
        """
        if self._uses:
            self._record()

    def _record(self) -> None:
        uses, self._uses, self._recorded = self._uses, [], True
        held, self._held = self._held, []
        self._recorder.record(self._organisation, self._key, uses, held, agent=self._agent)


_REQUEST: ContextVar[RequestUsage | None] = ContextVar("request_usage", default=None)


class UsageRecorder:
    """Records usage in files, and sends it to the database in a thread. Any thread may call the methods.

    Args:
        write: writes events to the database in one transaction; it may be called again with the same events.
        root: folder with the folders of all processes of this machine.
        max_bytes: maximum number of bytes of the files of this process.
    """

    def __init__(self, write: WriteUsage, root: Path, *, max_bytes: int) -> None:
        self.stats = UsageStats()
        self._root = root
        self._max_bytes = max_bytes
        self._sender = UsageSender(write, root, self.stats)
        #: Number of bytes of the files that wait for the database.
        self._waiting_bytes = 0
        self._folder: UsageFolder | None = None
        self._number = 0
        self._newest = self._new_batch()
        #: Held while work is added to the newest batch, and while the newest batch is replaced.
        self._lock = threading.Lock()
        #: Set if there may be usage to send; at first, of dead processes.
        self._some = threading.Event()
        self._some.set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
        self._thread.start()

    @contextmanager
    def of_request(self) -> Iterator[RequestUsage]:
        """Collect the work of the block, which answers a request of the current caller."""
        request = RequestUsage(self, current_caller().organisation, current_key())
        token = _REQUEST.set(request)
        try:
            yield request
        finally:
            _REQUEST.reset(token)
            request.end()

    def add(
        self,
        organisation: str,
        source: UsageSource,
        model: str,
        *,
        tokens: int,
        kind: str = EMBEDDING,
        agent: str | None = None,
    ) -> None:
        """Add the tokens that a model read or wrote to the current request. If there is no request, record
        them at once.
        """
        request, use = _REQUEST.get(), (source, model, kind, tokens)
        if request is None:
            self.record(organisation, current_key(), [use], agent=agent)
        else:
            request.add(use, agent)

    def settle(self, held: HeldReservation, *, used: bool) -> None:
        """Return a reservation to the budgets in the transaction that writes the work of the current request.

        Args:
            held: the reservation of work that has ended.
            used: False if the work failed, so it has no usage.
        """
        request = _REQUEST.get()
        if request is not None and used:
            request.settle(held)
        else:
            self.record(held.organisation, None, [], [held])

    def record(
        self,
        organisation: str,
        key: str | None,
        uses: Sequence[Use],
        held: Sequence[HeldReservation] = (),
        *,
        agent: str | None = None,
    ) -> None:
        """Record work in a file before this method returns.

        Args:
            organisation: the organisation that sent the request.
            key: id of the API key; None if the request had no key of an organisation.
            uses: the work.
            held: the reservations of the work, which the transaction that writes the work returns.
            agent: id of the platform's agent; None if the work was done for no agent.
        """
        with self._lock:
            newest = self._newest
            newest.held.extend(held)
            fits = newest.bytes + self._waiting_bytes < self._max_bytes
            reason = None if fits else f"its files have {self._max_bytes:,} bytes (CLUSTER_USAGE_BYTES)"
            try:
                if uses:
                    newest.add(int(time.time()), organisation, key, agent, uses, write=fits)
            except OSError as exc:
                reason = str(exc)
        if reason is not None:
            self.stats.keep_in_memory(reason)
        if not self._some.is_set():
            self._some.set()

    def close(self) -> None:
        """Send all usage, in one attempt, and end the thread. If the attempt fails, the files stay for the
        next process.
        """
        self._closing.set()
        self._some.set()
        self._thread.join()

    def _new_batch(self) -> UsageBatch:
        self._number += 1
        if self._folder is None:
            try:
                self._folder = UsageFolder.create(self._root)
            except OSError as exc:
                self.stats.keep_in_memory(str(exc))
        name = uuid4().hex if self._folder is None else self._folder.path.name
        return UsageBatch(self._folder, self._number, name)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._some.wait(IDLE_S)
            self._closing.wait(INTERVAL_S)
            try:
                self._send()
            except Exception:  # not raised, because the thread must go on with the next usage
                log.exception("usage_not_sent")
        self._send(last=True)
        self._sender.close()
        if self._folder is not None:
            self._folder.close()

    def _send(self, *, last: bool = False) -> None:
        """Send the waiting batches and the newest batch.

        Args:
            last: True if the process ends. Then all usage that was not sent is kept in files.
        """
        if self._sender.send_waiting(now=last):
            batch = self._taken()
            if batch is not None and not self._sender.send(batch):
                self._sender.keep(batch)
        elif last or self._newest.bytes >= FILE_BYTES or not self._newest.in_file:
            if self._sender.keeps_in_files() and (batch := self._taken()) is not None:
                self._sender.keep(batch)
        else:
            self._sync(self._newest)
        self._waiting_bytes = self._sender.waiting_bytes
        if self._sender.waits:
            self._some.set()
        if self.stats.only_in_memory and self._newest.in_file and self._sender.keeps_in_files():
            self.stats.only_in_memory = False
            log.info("usage_in_files_again")

    def _taken(self) -> UsageBatch | None:
        """Begin a new batch, and return the one before; None if nothing was added to it."""
        self._some.clear()
        if self._newest.empty:
            return None
        new = self._new_batch()
        with self._lock:
            taken, self._newest = self._newest, new
        self._sync(taken)
        return taken

    def _sync(self, batch: UsageBatch) -> None:
        try:
            batch.sync()
        except OSError as exc:
            self.stats.keep_in_memory(str(exc))
