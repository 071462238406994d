"""Workers that compute profiles are killed. Each message is analysed and paid for once, and the profiles are
those of a run that nobody disturbed.
"""

import signal
import time
from pathlib import Path
from random import Random
from typing import Any

from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.jobs import queue
from cluster.jobs.jobs import Job, JobState, get_job
from cluster.jobs.kinds import ENRICH_CUSTOMER_PROFILE
from cluster.settings import Settings
from tests.cluster.profiles.platform import event, send
from tests.conftest import new_organisation
from tests.faults.worker_processes import Workers
from tests.waiting import until

KILLS, CUSTOMERS, MESSAGES_EACH = 2, 60, 10
SAID = ("Thank you so much, order {n} is perfect!", "Order {n} broke again, I am very disappointed.")


def test_each_message_counts_once_and_the_profiles_are_those_of_a_quiet_run(
    own: Settings, own_pool: ConnectionPool, asking: Connection[Any], tmp_path: Path, chance: Random
) -> None:
    disturbed, quiet = (new_organisation(own_pool) for _ in range(2))
    for owner in (disturbed, quiet):
        send(asking, owner, messages())
    with Workers(own, 1, tmp_path) as workers:
        job = submit(asking, disturbed)
        for share in sorted(chance.uniform(0.1, 0.8) for _ in range(KILLS)):
            wanted = share * CUSTOMERS * MESSAGES_EACH
            until(lambda: analysed(asking, disturbed), lambda now, wanted=wanted: now >= wanted)
            workers.alive()[0].send_signal(signal.SIGKILL)
            time.sleep(chance.uniform(0.0, 0.5))
        assert ended(asking, disturbed, job).attempt > 1
        ended(asking, quiet, submit(asking, quiet))

    assert analysed(asking, disturbed) == CUSTOMERS * MESSAGES_EACH
    assert paid(asking, disturbed) == paid(asking, quiet) > 0
    assert profiles(asking, disturbed) == profiles(asking, quiet)


def messages() -> list[Any]:
    """Messages of customers who are pleased and of customers who are not."""
    return [
        event(
            f"customer {customer}",
            5,
            "message.created",
            conversation_id=f"talk of {customer}",
            role="user",
            text=SAID[customer % 2].format(n=number),
        )
        for customer in range(CUSTOMERS)
        for number in range(MESSAGES_EACH)
    ]


def submit(connection: Connection[Any], owner: str) -> str:
    """Submit a job for all customers, and return its id."""
    with connection.transaction():
        return queue.submit(connection, owner, ENRICH_CUSTOMER_PROFILE, {}).id


def ended(connection: Connection[Any], owner: str, id: str) -> Job:
    """Wait until the job has succeeded, and return it."""
    job: Job = until(lambda: get_job(connection, owner, id), lambda job: job.state.ended)
    assert job.state == JobState.SUCCEEDED, job.error
    return job


def analysed(connection: Connection[Any], owner: str) -> int:
    return int(value(connection, "SELECT count(*) FROM message_analyses WHERE organisation = %s", owner))


def paid(connection: Connection[Any], owner: str) -> int:
    """Embedding tokens that the organisation used."""
    sql = "SELECT sum(quantity) FROM usage_events WHERE kind = 'embedding' AND organisation = %s"
    return int(value(connection, sql, owner))


def value(connection: Connection[Any], sql: str, owner: str) -> Any:
    row = connection.execute(sql, [owner]).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row[0]


def profiles(connection: Connection[Any], owner: str) -> list[tuple[str, Any, Any]]:
    """What each customer's messages say, by the customer's own name."""
    sql = """
        SELECT customers.external_id, attributes -> 'sentiment', attributes -> 'language'
        FROM customer_profiles JOIN customers ON customers.organisation = customer_profiles.organisation
            AND customers.id = customer_profiles.customer
        WHERE customer_profiles.organisation = %s ORDER BY 1"""
    found = connection.execute(sql, [owner]).fetchall()
    assert len(found) == CUSTOMERS
    assert {language for *_, language in found} == {"en"}
    return found
