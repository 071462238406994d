"""Sends messages about alerts in threads, and repeats failed attempts.

Each channel has a thread and a queue, so a channel that hangs delays neither other channels nor the
evaluation of the rules. If the process dies after it sent a message and before it recorded this, the message
is sent again, with the same id.

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

#: The waits after failed attempts to send a message.
BACKOFF = Backoff(first_s=5.0, longest_s=600.0)
#: If a message is older than this when an attempt fails, the message is given up.
GIVE_UP_AFTER = timedelta(days=1)
#: Maximum number of messages that wait for one channel. If there are more, the oldest message is given up.
MAX_WAITING = 1_000

#: Function that records the result of an attempt. Its arguments are the id of the message, the name of the
#: channel, the error (None if the message was sent), and True if the message is given up.
RecordAttempt = Callable[[str, str, str | None, bool], None]


class NoticeDelivery:
    """Sends the messages of one process.

    Args:
        channels: the channels that can send messages. Each channel gets a thread.
        record: called with the result of each attempt in the thread of the channel. ``add`` also calls this
            function, if a message is given up because too many messages wait.
        backoff: the waits after failed attempts.
    """

    def __init__(
        self, channels: Sequence[AlertChannel], *, record: RecordAttempt, backoff: Backoff = BACKOFF
    ) -> None:
        self._lanes = {channel.name: _Lane(channel, record, backoff) for channel in channels}

    @property
    def channels(self) -> list[str]:
        """Names of the channels."""
        return list(self._lanes)

    def add(self, channel: str, notice: AlertNotice) -> None:
        """Queue the message for the thread of the channel, which sends the messages in order. Do nothing if
        there is no such channel, because a stored message may name a channel that the settings no longer
        have.
        """
        if channel in self._lanes:
            self._lanes[channel].add(notice)

    def clear(self) -> None:
        """Empty the queues of all channels. An attempt that has begun continues."""
        for lane in self._lanes.values():
            lane.clear()

    def stop(self) -> None:
        """Ask the threads to end after their current attempts. Messages that are not sent stay in the
        database.
        """
        for lane in self._lanes.values():
            lane.stop()


class _Lane:
    """Holds the queue of one channel, and runs a thread, which starts when the first message is added."""

    def __init__(self, channel: AlertChannel, record: RecordAttempt, backoff: Backoff) -> None:
        self._channel, self._record, self._backoff = channel, record, backoff
        self._waiting: deque[AlertNotice] = deque()
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, notice: AlertNotice) -> None:
        """Add the message to the queue, unless the queue has it. If the queue is full, give up the oldest
        message.
        """
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
        """Ask the thread to end after the current attempt."""
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
            error = self._attempt(notice)
            failures = 0 if error is None else failures + 1
            if error is not None:
                wait_s = self._backoff.wait_s(failures, error)  # at least the wait that the receiver asks for
                self._stopped.wait(min(wait_s, self._backoff.longest_s))

    def _attempt(self, notice: AlertNotice) -> NotSent | None:
        """Send the message once, and remove the message from the queue if no further attempt follows. Return
        the error if a further attempt follows.
        """
        try:
            self._channel.send(notice)
        except NotSent as exc:
            given_up = datetime.now(UTC) - notice.at > GIVE_UP_AFTER
            log.warning("alert_not_sent", channel=self._channel.name, alert=notice.id, reason=str(exc))
            if given_up:
                self._take_off(notice)
            self._end(notice, str(exc), given_up=given_up)
            return None if given_up else exc
        except Exception as exc:  # not raised, because the thread must continue with the next message
            log.exception("alert_not_sent", channel=self._channel.name, alert=notice.id)
            self._take_off(notice)
            self._end(notice, f"{type(exc).__name__}: {exc}", given_up=True)
            return None
        self._take_off(notice)
        self._end(notice, None, given_up=False)
        return None

    def _take_off(self, notice: AlertNotice) -> None:
        with self._changed:
            if notice in self._waiting:
                self._waiting.remove(notice)

    def _end(self, notice: AlertNotice, error: str | None, *, given_up: bool) -> None:
        self._record(notice.id, self._channel.name, error, given_up)
