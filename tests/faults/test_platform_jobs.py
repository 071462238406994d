"""Workers that import events, erase a customer and delete an organisation are killed again and again.

No row is counted twice or left behind.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from random import Random
from typing import Any

from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.blobs import open_blob_store
from cluster.documents.organisation_deletion import remaining, request_deletion
from cluster.jobs.jobs import SYSTEM, Job, JobState, get_job
from cluster.local.environment import settings_variables
from cluster.platform_data.erasure import TABLES, erase_customer
from cluster.platform_data.ids import row_id
from cluster.settings import Settings
from cluster.submissions import submit_erasure
from data_jobs.platform_data.invented_platform import InventedPlatformOptions, invent
from data_jobs.platform_data.sent_events import sent_events, truth
from tests.conftest import ROOT, new_organisation
from tests.data_jobs.kinds.test_erase_customer import rows, sent, story
from tests.data_jobs.kinds.test_import_events import as_lines, counts, no_vectors, stored_types, submitted
from tests.data_jobs.running_consumer import consuming
from tests.waiting import until

KILLS, MESSAGES = 2, 1_000
#: Deletes one row in each transaction, so that it is killed in the middle.
WORKER = """
import asyncio
from typing import Any
from cluster.blobs import open_blob_store
from cluster.database import open_pool
from cluster.documents import organisation_deletion
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.platform_data import erasure
from cluster.settings import Settings
from data_jobs.kinds.registry import open_kinds
from data_jobs.kinds.resources import Resources
from data_jobs.worker.consumer import Consumer
erasure.ROWS_AT_ONCE = organisation_deletion.ROWS_AT_ONCE = 1
settings = Settings()
indexes = ChunkIndexes(settings, open_pool(settings))
resources = Resources(blobs=open_blob_store(settings), indexes=indexes, parsers=Any, embed=Any, answer=Any)
asyncio.run(Consumer(settings, kinds=open_kinds(resources), name="killed").run())
"""


def after_kills(
    own: Settings, pool: ConnectionPool, owner: str, id: str, done: Callable[[], int], chance: Random
) -> Job:
    """Kill workers soon after the job has made progress, let another worker end the job, and return it."""
    variables = {**os.environ, **settings_variables(own)}
    for _ in range(KILLS):
        before = done()
        with subprocess.Popen([sys.executable, "-c", WORKER], cwd=ROOT, env=variables) as process:
            until(done, lambda now, before=before: now > before)
            time.sleep(chance.uniform(0.0, 0.3))
            process.send_signal(signal.SIGKILL)

    def read() -> Job:
        with pool.connection() as connection:
            return get_job(connection, owner, id)

    assert read().state == JobState.RUNNING
    with consuming(own, pool, embed=no_vectors):
        job: Job = until(read, lambda job: job.state.ended)
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1 + KILLS), job.error
    return job


def test_an_import_counts_no_row_twice(
    own: Settings, own_pool: ConnectionPool, asking: Connection[Any], chance: Random
) -> None:
    owner = new_organisation(own_pool)
    platform = invent(InventedPlatformOptions(seed=chance.randrange(1_000), events=30_000))
    id = submitted(own, own_pool, owner, as_lines(list(sent_events(platform))))

    def done() -> int:
        row = asking.execute("SELECT position FROM bulk_inserts WHERE job = %s", [id]).fetchone()
        return 0 if row is None else int(row[0])

    job = after_kills(own, own_pool, owner, id, done, chance)
    true = truth(platform)
    assert counts(job) == (true["sent"], true["events"], true["duplicates"], 0)
    assert stored_types(asking, owner) == true["types"]


def test_an_erasure_leaves_no_row_and_counts_each_once(
    own: Settings, own_pool: ConnectionPool, asking: Connection[Any], chance: Random
) -> None:
    owner = new_organisation(own_pool)
    sent(own_pool, owner, story("c", MESSAGES))
    sent(own_pool, owner, story("other", 2))
    customer = row_id("cust", owner, "c")
    with asking.transaction():
        assert erase_customer(asking, owner, customer, max_rows=1) is None
        id = submit_erasure(asking, owner, customer).id
    job = after_kills(own, own_pool, owner, id, lambda: -rows(asking, owner), chance)
    deleted = {
        "responses": 0,
        "message_analyses": 0,
        "messages": MESSAGES,
        "customer_events": MESSAGES + 1,
        "conversations": 1,
        "customer_profiles": 0,
        "customers": 1,
    }
    assert (job.result or {})["deleted_rows"] == deleted
    assert (job.result or {})["remaining_rows"] == dict.fromkeys(TABLES, 0)
    assert rows(asking, owner) == 7  # of the other customer
    assert sent(own_pool, owner, story("c", MESSAGES)) == (0, MESSAGES + 1)


def test_the_deletion_of_an_organisation_leaves_nothing_and_touches_no_other(
    own: Settings, own_pool: ConnectionPool, asking: Connection[Any], chance: Random
) -> None:
    owner, other = (new_organisation(own_pool) for _ in range(2))
    for organisation in (owner, other):
        sent(own_pool, organisation, story("c", MESSAGES))
        with open_blob_store(own).writer(organisation) as writer:
            writer.write(b"the bytes of a file")
            writer.commit()
    before = remaining(asking, other)
    id = request_deletion(asking, owner, default=own.organisation).id
    job = after_kills(own, own_pool, SYSTEM, id, lambda: -rows(asking, owner), chance)
    assert set((job.result or {})["remaining"].values()) == {0}
    assert set(remaining(asking, owner).values()) == {0}
    assert remaining(asking, other) == before
    owners = {blob.organisation for blob in open_blob_store(own).list()}
    assert (owner in owners, other in owners) == (False, True)
