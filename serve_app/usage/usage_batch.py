"""A batch: usage that is sent to the database in one transaction, and the file in which it waits.

The recorder adds the usage of each answered request to the newest batch, and sends one batch at a time. The
ids of the events are made from the folder, the number and the group, so a batch that is sent again counts
once.

    batch = UsageBatch(folder, 7)
    uses = [(UsageSource.HTTP, "m", "embedding", 12)]
    batch.add(int(time.time()), "acme", None, None, uses, write=True)
    record_usage(connection, batch.events())
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

import orjson
import structlog

from cluster.budgets.reservations import HeldReservation
from cluster.usage.events import UsageEvent, UsageSource, event_id
from serve_app.usage.write_ahead import UsageFolder, UsageSums, Use, add_to, read_sums, usage_line

log = structlog.get_logger(__name__)


class UsageBatch:
    """Usage with a number, in memory, in a file, or in both.

    Args:
        folder: the folder of the file. None: there is no file, because no folder could be created.
        number: number of the file.
        name: name of the batch for the ids of its events.
    """

    def __init__(self, folder: UsageFolder | None, number: int, name: str) -> None:
        self.folder = folder
        self.number = number
        self._name = f"{name}/{number}"
        #: The sums; None if they are only in the file.
        self._sums: UsageSums | None = UsageSums()
        self._descriptor: int | None = None
        #: Number of bytes of the file.
        self.bytes = 0
        #: Reservations of budgets, which the transaction that writes the usage returns. They are only in
        #: memory, because they expire soon after the process dies.
        self.held: list[HeldReservation] = []
        #: True if the file has all usage of the batch.
        self.in_file = folder is not None

    @classmethod
    def left(cls, folder: UsageFolder, number: int) -> "UsageBatch":
        """Return the batch of a file that another process left."""
        batch = cls(folder, number, folder.path.name)
        batch._sums = None
        return batch

    @property
    def empty(self) -> bool:
        """True if neither usage nor a reservation was added."""
        return self._sums is not None and not self._sums and not self.held

    def add(
        self,
        at: int,
        organisation: str,
        key: str | None,
        agent: str | None,
        uses: Sequence[Use],
        *,
        write: bool,
    ) -> None:
        """Add the work of one answered request.

        Args:
            at: time of the answer, in seconds since 1970.
            organisation: the organisation that sent the request.
            key: id of the API key; None if the request had no key of an organisation.
            agent: id of the platform's agent; None if the work was done for no agent.
            uses: the work.
            write: False if the file must not grow.

        Raises:
            OSError: the work was added, but it could not be written to the file.
        """
        assert self._sums is not None
        add_to(self._sums, at, organisation, key, agent, uses)
        if not self.in_file:
            return
        if not write:
            self.in_file = False
            return
        line = usage_line(at, organisation, key, agent, uses)
        try:
            if self._descriptor is None:
                self._open()
            assert self._descriptor is not None
            written = os.write(self._descriptor, line)
            if written < len(line):  # the disk is full
                os.ftruncate(self._descriptor, self.bytes)
                raise OSError(f"only {written} of {len(line)} bytes were written")
        except OSError:
            self.in_file = False
            raise
        self.bytes += written

    def sync(self) -> None:
        """Write the file to the disk.

        Raises:
            OSError: the disk fails.
        """
        if self._descriptor is not None and self.folder is not None:
            os.fdatasync(self._descriptor)
            self.folder.sync()

    def store(self) -> None:
        """Replace the lines of the file by the sums, and forget the sums in memory.

        Raises:
            OSError: the file cannot be written. Then the sums stay in memory.
        """
        if self._sums is None:
            return
        if self.folder is None:
            raise FileNotFoundError("there is no folder for usage")
        self.folder.store(self.number, self._sums)
        self.bytes = self.folder.file(self.number).stat().st_size
        self.in_file, self._sums = True, None
        self._close()

    def events(self) -> list[UsageEvent]:
        """Return the events of the batch.

        Raises:
            NewerFormat: a newer version of this project wrote the file.
            ValueError: the file names a source that this version does not know.
            OSError: the file cannot be read.
        """
        sums = self._sums
        if sums is None:
            assert self.folder is not None
            sums, damaged = read_sums(self.folder.file(self.number))
            if damaged:
                log.warning("usage_lines_damaged", file=str(self.folder.file(self.number)), lines=damaged)
        return [
            UsageEvent(
                organisation=group.organisation,
                id=event_id(group.kind, f"{self._name} {orjson.dumps(tuple(group)).decode()}"),
                source=UsageSource(group.source),
                model=group.model,
                kind=group.kind,
                quantity=quantity,
                key=group.key,
                agent=group.agent,
                at=datetime.fromtimestamp(group.minute, UTC),
            )
            for group, quantity in sums.items()
        ]

    def delete(self) -> None:
        """Delete the file, because the database has the usage."""
        self._close()
        if self.folder is not None:
            with suppress(OSError):  # if the file stays, its usage is sent again and counts once
                self.folder.file(self.number).unlink(missing_ok=True)

    def _open(self) -> None:
        assert self.folder is not None
        flags = os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_WRONLY
        self._descriptor = os.open(self.folder.file(self.number), flags, 0o600)

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
