"""The code for each kind of job: one row a kind. What else is known about a kind stands in ``cluster.jobs.kinds``."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from cluster.jobs.kinds import DELETE_STORE, INDEX_FILE
from data_jobs.kinds.delete_store import DeleteStore
from data_jobs.kinds.index_file import IndexFile
from data_jobs.kinds.resources import Resources
from data_jobs.worker.job_attempt import JobFunction

#: By the kind's name: makes the function that does a job of the kind.
FUNCTIONS: Mapping[str, Callable[[Resources], JobFunction]] = MappingProxyType(
    {
        INDEX_FILE.name: IndexFile,
        DELETE_STORE.name: DeleteStore,
    }
)


def open_kinds(resources: Resources) -> dict[str, JobFunction]:
    """The functions of a worker, by the name of the kind."""
    return {name: make(resources) for name, make in FUNCTIONS.items()}
