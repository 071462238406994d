"""Defines an ailment: one kind of contradiction in the data, with a search and a repair."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from psycopg_pool import ConnectionPool

from cluster.blobs import BlobStore, open_blob_store
from cluster.database.queries import queries
from cluster.settings import Settings

SQL = queries("cluster.doctor", "doctor.sql")


@dataclass(frozen=True, kw_only=True, slots=True)
class Patient:
    """Gives searches and repairs access to the examined cluster."""

    settings: Settings
    pool: ConnectionPool

    @property
    def blobs(self) -> BlobStore:
        """The blob store that the settings name."""
        return open_blob_store(self.settings)


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Identifies one occurrence of an ailment."""

    organisation: str
    id: str
    #: Further values that the repair of this case needs.
    facts: tuple[str, ...] = ()
    #: What a person has to know about this case. Reports print this after the id.
    note: str = ""

    @property
    def label(self) -> str:
        """The name of the case in reports."""
        return f"{self.organisation}/{self.id}" + (f" ({self.note})" if self.note else "")


def _none(_: Patient, __: Sequence[Case]) -> str:
    return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ailment:
    """Describes one kind of contradiction in the data, with a search and a repair.

    A repair runs while the cluster works, so it takes locks before it changes data that other processes use.
    """

    name: str
    #: Description of the cases. Reports print this text after the number of cases: "3 ...".
    says: str
    #: Description of the repair. Reports print this text after "--mend".
    remedy: str
    find: Callable[[Patient], list[Case]]
    mend: Callable[[Patient, Sequence[Case]], None]
    #: Returns the reason why these cases must not be repaired; an empty text allows the repair.
    doubt: Callable[[Patient, Sequence[Case]], str] = _none
