"""The one tree of errors; which branch an error is on decides what happens next.

    ClusterError
    ├── Retryable            the same call may succeed later; ``retry_after_s`` says when
    │   ├── Throttled        too much waits, or is kept, already
    │   └── Unavailable      a service we need does not answer (database, engine, index)
    └── Permanent            repeating the call cannot help; somebody must change something
        ├── InvalidInput     what the caller sent is wrong; the message names input, limit and remedy
        ├── NotFound         what the caller named does not exist
        ├── Conflict         it exists, but not as the caller assumes (dimension, fingerprint, ...)
        │   └── LeaseLost    a try at a job that counts no more: the job was given to somebody else, or has ended
        └── Misconfigured    a setting, an extra or a file of the installation is missing or wrong

Vendor errors are translated into these in one table per adapter, with ``raise ... from exc``.
"""

from collections.abc import Sequence


class ClusterError(Exception):
    """Root of every error this project raises on purpose."""


class Retryable(ClusterError):
    """The same call may succeed later.

    Args:
        message: what happened, to what, and what to do.
        retry_after_s: seconds to wait before the next try; None leaves it to the caller's own schedule.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Throttled(Retryable):
    """Too much waits already, or an organisation keeps as much as it may."""


class Unavailable(Retryable):
    """A service we depend on does not answer."""


class Permanent(ClusterError):
    """Repeating the call cannot help.

    Args:
        message: what happened, to what, and what to do.
        row_ids: ids of the rows that caused it, where the call was about rows.
    """

    def __init__(self, message: str, *, row_ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.row_ids = tuple(row_ids)


class InvalidInput(Permanent):
    """What the caller sent is wrong.

    Args:
        message: names the input, the limit and the remedy.
        param: the field at fault, as the caller spells it (OpenAI's ``param``).
    """

    def __init__(self, message: str, *, param: str | None = None, row_ids: Sequence[str] = ()) -> None:
        super().__init__(message, row_ids=row_ids)
        self.param = param


class NotFound(Permanent):
    """What the caller named does not exist."""


class Conflict(Permanent):
    """It exists, but not as the caller assumes."""


class LeaseLost(Conflict):
    """A try at a job that counts no more: the job was given to somebody else, or has ended. What it wrote is undone."""


class Misconfigured(Permanent):
    """A setting, an optional extra or a file of the installation is missing or wrong."""


def last_line(exc: BaseException) -> str:
    """What happened: a remote error carries the whole remote trace, and its last line says so."""
    return (str(exc).strip().splitlines() or [type(exc).__name__])[-1]
