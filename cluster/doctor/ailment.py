"""What an ailment is: how its cases are found, and how they are mended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from psycopg_pool import ConnectionPool

from cluster.blobs import BlobStore, open_blob_store
from cluster.database.queries import queries
from cluster.settings import Settings

SQL = queries("cluster.doctor", "doctor.sql")


@dataclass(frozen=True, kw_only=True, slots=True)
class Patient:
    """What is examined."""

    settings: Settings
    pool: ConnectionPool

    @property
    def blobs(self) -> BlobStore:
        """The settings'."""
        return open_blob_store(self.settings)


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One of the things that are wrong."""

    organisation: str
    id: str
    #: What else mending it needs to know.
    facts: tuple[str, ...] = ()


def _none(_: Patient, __: Sequence[Case]) -> str:
    return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ailment:
    """One way in which the data can contradict themselves. Mending a case looks at it again first, under its locks."""

    name: str
    #: What the cases are, as in "3 ...".
    says: str
    #: What ``--mend`` does.
    remedy: str
    find: Callable[[Patient], list[Case]]
    mend: Callable[[Patient, Sequence[Case]], None]
    #: Why these cases had better not be mended; empty where nothing speaks against it.
    doubt: Callable[[Patient, Sequence[Case]], str] = _none
