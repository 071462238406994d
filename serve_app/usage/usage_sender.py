"""Send batches of usage to the database, and keep the batches that wait for it.

The thread of the recorder calls this module. A batch that the database did not take waits in its file; its
sums are kept in memory only if the file cannot be written. The sender also sends the files that dead
processes of this machine left.

    sender = UsageSender(write, home / "usage", stats)
    if not sender.send_waiting() or not sender.send(batch):
        sender.keep(batch)
"""

import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import orjson
import structlog

from cluster.budgets.reservations import HeldReservation
from cluster.errors import Retryable
from cluster.usage.events import UsageEvent
from serve_app.usage.usage_batch import UsageBatch
from serve_app.usage.write_ahead import NewerFormat, UsageFolder, folders

log = structlog.get_logger(__name__)

#: Seconds between attempts while the database does not answer.
RETRY_S = 5.0
#: Seconds between two searches for files that dead processes left.
SEARCH_S = 30.0
#: The file with the events that the database refused, one JSON object for each event.
REFUSED = "refused.jsonl"


class WriteUsage(Protocol):
    """Writes events to the database."""

    def __call__(self, events: Sequence[UsageEvent], held: Sequence[HeldReservation] = (), /) -> object:
        """Write the events, and return the reservations to the budgets, in one transaction."""


@dataclass(slots=True)
class UsageStats:
    """The state of the usage that is not in the database yet. The metrics read it."""

    #: Time (``time.monotonic``) at which the database stopped taking usage; None if it takes usage.
    unsent_since: float | None = None
    #: True while some usage is only in memory, because it cannot be written to a file.
    only_in_memory: bool = False
    #: Number of events that the database refused.
    refused_events: int = 0

    def keep_in_memory(self, reason: str) -> None:
        """Note that usage cannot be written to a file, and log the first time."""
        if not self.only_in_memory:
            self.only_in_memory = True
            log.error("usage_only_in_memory", reason=reason)

    @property
    def unsent_s(self) -> float:
        """Seconds for which usage has waited for the database; 0 if the database takes usage."""
        since = self.unsent_since
        return 0.0 if since is None else time.monotonic() - since


class UsageSender:
    """Sends batches. Only the thread of the recorder calls the methods.

    Args:
        write: writes events to the database in one transaction; it may be called again with the same events.
        root: folder with the folders of all processes of this machine.
        stats: the sender records its state here.
    """

    def __init__(self, write: WriteUsage, root: Path, stats: UsageStats) -> None:
        self._write = write
        self._root = root
        self._stats = stats
        #: Batches that wait for the database, the oldest first.
        self._waiting: deque[UsageBatch] = deque()
        #: The folders of dead processes whose files this process sends.
        self._adopted: dict[Path, UsageFolder] = {}
        self._search_at = self._attempt_at = 0.0

    @property
    def waits(self) -> bool:
        """True if a batch waits for the database."""
        return bool(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        """Number of bytes of the files of the waiting batches."""
        return sum(batch.bytes for batch in self._waiting)

    def send_waiting(self, *, now: bool = False) -> bool:
        """Send the waiting batches, and the files of dead processes. Return False if the database does not
        answer, or did not answer less than ``RETRY_S`` seconds ago.

        Args:
            now: True to attempt it in any case.
        """
        if time.monotonic() < self._attempt_at and not now:
            return False
        self._adopt()
        while self._waiting:
            if not self.send(self._waiting[0]):
                return False
            self._waiting.popleft()
        self._leave_empty_folders()
        return True

    def send(self, batch: UsageBatch) -> bool:
        """Send the batch and delete its file. Return False if the database does not answer."""
        try:
            events = batch.events()
        except (NewerFormat, ValueError, OSError) as exc:
            log.error("usage_file_not_read", reason=str(exc))  # the file stays
            return True
        if not self._sent(events, batch.held):
            return False
        batch.delete()
        return True

    def keep(self, batch: UsageBatch) -> None:
        """Keep a batch that was not sent, in its file if possible."""
        self._waiting.append(batch)
        try:
            batch.store()
        except OSError as exc:
            self._stats.keep_in_memory(str(exc))

    def keeps_in_files(self) -> bool:
        """Store the waiting batches that are only in memory. Return False if this is not possible."""
        for batch in self._waiting:
            try:
                batch.store()
            except OSError:
                return False
        return True

    def close(self) -> None:
        """Unlock the folders of dead processes."""
        if self._waiting:
            lost = sum(not batch.in_file for batch in self._waiting)
            log.warning("usage_waits_for_the_next_process", batches=len(self._waiting), lost=lost)
        for folder in self._adopted.values():
            folder.close()

    def _sent(self, events: list[UsageEvent], held: list[HeldReservation]) -> bool:
        try:
            if events or held:
                self._write(events, held) if held else self._write(events)
        except Retryable as exc:
            return self._away(exc, len(events))
        except Exception:  # an event that cannot be written must not hold up the other events
            log.exception("usage_refused_together", events=len(events))
            for event in events:
                try:
                    self._write([event])
                except Retryable as exc:
                    return self._away(exc, len(events))
                except Exception:  # noqa: BLE001  logged and kept in a file
                    self._refused(event)
        if self._stats.unsent_since is not None:
            log.info("usage_written_again", after_s=round(self._stats.unsent_s, 1))
            self._stats.unsent_since = None
        return True

    def _away(self, exc: Retryable, events: int) -> bool:
        """Note that the database does not answer. Return False."""
        if self._stats.unsent_since is None:
            self._stats.unsent_since = time.monotonic()
            log.warning("usage_not_written", events=events, reason=str(exc))
        self._attempt_at = time.monotonic() + RETRY_S
        return False

    def _refused(self, event: UsageEvent) -> None:
        self._stats.refused_events += 1
        log.exception("usage_refused", usage=repr(event))
        try:
            file = os.open(self._root / REFUSED, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
            try:
                os.write(file, orjson.dumps(asdict(event)) + b"\n")
            finally:
                os.close(file)
        except OSError as exc:
            log.error("usage_refused_not_kept", reason=str(exc))

    def _adopt(self) -> None:
        """Queue the files of dead processes, at most once in ``SEARCH_S`` seconds."""
        if time.monotonic() < self._search_at:
            return
        self._search_at = time.monotonic() + SEARCH_S
        for path in folders(self._root):
            try:
                folder = None if path in self._adopted else UsageFolder.adopt(path)
                if folder is not None:
                    self._adopted[path] = folder
                    left = [UsageBatch.left(folder, number) for number in folder.files()]
                    log.info("usage_of_dead_process", folder=str(path), files=len(left))
                    self._waiting.extend(left)
            except OSError as exc:
                log.error("usage_folder_not_read", folder=str(path), reason=str(exc))

    def _leave_empty_folders(self) -> None:
        for path, folder in list(self._adopted.items()):
            if not folder.files():
                folder.close()
                del self._adopted[path]
