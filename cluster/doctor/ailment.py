"""The ailment: one kind of contradiction in the data, with its search and its repair."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from psycopg_pool import ConnectionPool

from cluster.blobs import BlobStore, open_blob_store
from cluster.database.queries import queries
from cluster.settings import Settings

SQL = queries("cluster.doctor", "doctor.sql")


@dataclass(frozen=True, kw_only=True, slots=True)
class Patient:
    """The cluster under examination."""

    settings: Settings
    pool: ConnectionPool

    @property
    def blobs(self) -> BlobStore:
        """The blob store of the settings."""
        return open_blob_store(self.settings)


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One occurrence of an ailment."""

    organisation: str
    id: str
    #: Further values that its repair needs.
    facts: tuple[str, ...] = ()


def _none(_: Patient, __: Sequence[Case]) -> str:
    return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ailment:
    """A kind of contradiction in the data. The repair of a case checks the case again first, under locks."""

    name: str
    #: Description of the cases, which follows their number: "3 ...".
    says: str
    #: Action of ``--mend``, which follows "--mend".
    remedy: str
    find: Callable[[Patient], list[Case]]
    mend: Callable[[Patient, Sequence[Case]], None]
    #: Reason against a repair of these cases; empty if there is none.
    doubt: Callable[[Patient, Sequence[Case]], str] = _none
