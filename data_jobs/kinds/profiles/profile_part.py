"""The contract of a part of profiles, and the loop over the selected customers that most parts use.

``parts.PARTS`` lists the parts. To add one, write a class with the method ``enrich`` in a file of its own,
and add it to the list:

    class TopicsPart:
        name = "topics"

        async def enrich(self, attempt: JobAttempt, selection: Selection) -> PartCounts:
            def work(connection, customers): ...    # calls cluster.profiles.profiles.write_part
            return await for_each_page(attempt, selection, self.name, work)

A part that needs all messages at the same time, for example for Ray Data, can read the customers with
``cluster.profiles.selection.select_customers`` itself.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from psycopg import Connection

from cluster.jobs import attempts
from cluster.jobs.file_rows.row_progress import get_progress, save_progress
from cluster.profiles.selection import Selection, select_customers
from data_jobs.worker.job_attempt import JobAttempt

#: Numbers and texts about the work of one part, which the result of the job shows.
PartCounts = Mapping[str, Any]
#: Computes and writes the values of some customers in a transaction. Returns the number of written profiles.
PageWork = Callable[[Connection[Any], Sequence[str]], int]
#: Number of customers whose values are computed in one transaction. After the transaction has written
#: profiles, events that change these customers wait until the transaction ends.
CUSTOMERS_AT_ONCE = 500


class ProfilePart(Protocol):
    """Computes one part of the profiles of the selected customers. Repeating the computation must be safe."""

    #: Name of the part in profiles.
    name: str

    async def enrich(self, attempt: JobAttempt, selection: Selection) -> PartCounts:
        """Compute the part for every selected customer, and write it with
        ``cluster.profiles.profiles.write_part``.

        Every transaction that writes first calls ``cluster.jobs.attempts.hold``, so that only the current
        attempt writes. The part calls ``attempt.goes_on()`` after each piece of work, because a stage without
        progress is ended.
        """


async def for_each_page(attempt: JobAttempt, selection: Selection, part: str, work: PageWork) -> PartCounts:
    """Call the work for all selected customers, at most 500 in each transaction, in order of their ids.
    Return the number of written profiles as ``customers``.

    Each transaction saves the id of its last customer, so another attempt at the job continues after this id.
    """
    next_page = partial(_one_page, attempt, selection, part, work)
    while (saved := await attempt.in_transaction(next_page))["after"] is not None:
        attempt.goes_on()
        await attempt.progress(saved["seen"], unit="customers")
    return {"customers": saved["written"]}


def _one_page(
    attempt: JobAttempt, selection: Selection, part: str, work: PageWork, connection: Connection[Any]
) -> dict[str, Any]:
    """Do the work for one page of customers, and return the saved progress of the part, whose ``after`` is
    None if no customer is left.
    """
    job = attempts.hold(connection, attempt.job)
    position, state = get_progress(connection, job.organisation, job.id)
    saved = dict(state.get(part) or {"after": "", "seen": 0, "written": 0})
    if saved["after"] is None:
        return saved
    customers = select_customers(connection, selection, after=saved["after"], limit=CUSTOMERS_AT_ONCE)
    if customers:
        saved["written"] += work(connection, customers)
        saved["seen"] += len(customers)
    saved["after"] = customers[-1] if len(customers) == CUSTOMERS_AT_ONCE else None
    save_progress(connection, job, position + len(customers), {**state, part: saved}, [])
    return saved
