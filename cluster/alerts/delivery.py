"""Sends messages about alerts in threads, and repeats what failed.

Each channel has a thread and a queue, so a channel that hangs delays neither other channels nor the
evaluation of the rules. A message may arrive twice, with the same id, if a process dies right after it sent
the message.

    delivery = NoticeDelivery(open_channels(settings), record=record)
    delivery.add("mail", notice)
    delivery.stop()
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from cluster.alerts.channels import AlertChannel, NotSent
from cluster.alerts.notices import AlertNotice
from cluster.retrying import Backoff

log = structlog.get_logger(__name__)

#: Waits between the attempts at a message.
BACKOFF = Backoff(first_s=5.0, longest_s=600.0)
#: Age of a message after which it is given up.
GIVE_UP_AFTER = timedelta(days=1)
#: Maximum number of messages that wait for one channel. The oldest ones are given up if there are more.
MAX_WAITING = 1_000

#: Called after each attempt: id of the message, channel, error or None, and True if the message is given up.
RecordAttempt = Callable[[str, str, str | None, bool], None]


class NoticeDelivery:
    """Sends the messages of one process.

    Args:
        channels: where each message goes.
        record: records the result of each attempt. The threads of the channels call it.
        backoff: waits after failures.
    """

    def __init__(
        self, channels: Sequence[AlertChannel], *, record: RecordAttempt, backoff: Backoff = BACKOFF
    ) -> None:
        self._lanes = {channel.name: _Lane(channel, record, backoff) for channel in channels}

    @property
    def channels(self) -> list[str]:
        """The names of the channels."""
        return list(self._lanes)

    def add(self, channel: str, notice: AlertNotice) -> None:
        """Send the message as soon as the earlier messages of the channel are sent. A channel that the
        settings no longer name is ignored.
        """
        if channel in self._lanes:
            self._lanes[channel].add(notice)

    def clear(self) -> None:
        """Forget the messages that no thread sends now, because another process sends them."""
        for lane in self._lanes.values():
            lane.clear()

    def stop(self) -> None:
        """End the threads. Messages that are not sent stay in the database."""
        for lane in self._lanes.values():
            lane.stop()


class _Lane:
    """The thread and the queue of one channel. The thread starts with the first message."""

    def __init__(self, channel: AlertChannel, record: RecordAttempt, backoff: Backoff) -> None:
        self._channel, self._record, self._backoff = channel, record, backoff
        self._waiting: deque[AlertNotice] = deque()
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, notice: AlertNotice) -> None:
        """Add the message to the queue."""
        given_up = None
        with self._changed:
            if any(other.id == notice.id for other in self._waiting):
                return
            self._waiting.append(notice)
            if len(self._waiting) > MAX_WAITING:
                given_up = self._waiting.popleft()
            if self._thread is None:
                name = f"alerts to {self._channel.name}"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
            self._changed.notify()
        if given_up is not None:
            self._end(given_up, f"more than {MAX_WAITING} messages wait", given_up=True)

    def clear(self) -> None:
        """Empty the queue."""
        with self._changed:
            self._waiting.clear()

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stopped.set()
        with self._changed:
            self._changed.notify()

    def _run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            with self._changed:
                while not self._waiting and not self._stopped.is_set():
                    self._changed.wait()
                notice = self._waiting[0] if self._waiting else None
            if notice is None:
                return
            failures = 0 if self._attempt(notice) else failures + 1
            if failures:
                self._stopped.wait(self._backoff.wait_s(failures))

    def _attempt(self, notice: AlertNotice) -> bool:
        """Send the message once, and take it off the queue if no further attempt follows. Return True if the
        next message may be sent at once.
        """
        try:
            self._channel.send(notice)
        except NotSent as exc:
            given_up = datetime.now(UTC) - notice.at > GIVE_UP_AFTER
            log.warning("alert_not_sent", channel=self._channel.name, alert=notice.id, reason=str(exc))
            if given_up:
                self._take_off(notice)
            self._end(notice, str(exc), given_up=given_up)
            return given_up
        except Exception as exc:  # the thread must go on with the next message
            log.exception("alert_not_sent", channel=self._channel.name, alert=notice.id)
            self._take_off(notice)
            self._end(notice, f"{type(exc).__name__}: {exc}", given_up=True)
            return True
        self._take_off(notice)
        self._end(notice, None, given_up=False)
        return True

    def _take_off(self, notice: AlertNotice) -> None:
        with self._changed:
            if notice in self._waiting:
                self._waiting.remove(notice)

    def _end(self, notice: AlertNotice, error: str | None, *, given_up: bool) -> None:
        self._record(notice.id, self._channel.name, error, given_up)
