"""Enrich messages of customers, and compare the speed with that of the engine alone.

    python -m benchmarks.profiles.messages ../shared/data/sentiment --messages 100000

The texts are those of Hutto's four sets, repeated until there are enough. The baseline tokenises and embeds
the same texts with the same engine, and nothing else. The job reads the messages from Postgres, embeds them
with this engine, detects languages, computes the sentiment, and writes the analyses and the profiles. Both
are measured in this run: half of the baseline, the job, the other half. A second job shows how stable the
topics are.
"""

import argparse
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path

from psycopg_pool import ConnectionPool

from benchmarks import own_database
from benchmarks.profiles.train_sentiment import PROMISED
from cluster.engines import Engine, Registry, open_engine
from cluster.jobs import queue
from cluster.jobs.jobs import Job, JobState, get_job
from cluster.jobs.kinds import ENRICH_CUSTOMER_PROFILE
from cluster.organisations.organisations import ensure_organisation
from cluster.platform_data.ingestion import ingest
from cluster.platform_data.read_events import read_events
from cluster.profiles.messages.analyses import MAX_CHARACTERS
from cluster.settings import Settings
from data_jobs.kinds.profiles.analyse_messages import MESSAGES_PER_PAGE
from tests.data_jobs.running_consumer import consuming

ORGANISATION = "bench"
#: Number of messages of a conversation; each customer has one.
MESSAGES_PER_CUSTOMER = 10
#: Number of events in one insertion.
EVENTS_AT_ONCE = 1_000
#: Seconds between two looks at the job.
POLL_S = 0.2


def main() -> int:
    """Run the command, and return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder with Hutto's four files")
    parser.add_argument("--messages", type=int, default=100_000, help="default: %(default)s")
    options = parser.parse_args()
    with own_database() as (settings, pool):
        return _measure(settings, pool, texts_of(options.folder, options.messages))


def texts_of(folder: Path, count: int) -> list[str]:
    """Return so many texts of Hutto's sets."""
    found = []
    for name in PROMISED:
        lines = (folder / f"{name}_GroundTruth.txt").read_text(errors="replace").split("\n")
        found += [line.split("\t")[2] for line in lines if line]
    return list(islice(cycle(found), count))


def _measure(settings: Settings, pool: ConnectionPool, texts: list[str]) -> int:
    engine = open_engine(Registry(settings).default)
    engine.embed(texts[:2_000])
    begun = time.monotonic()
    _insert(pool, texts)
    print(f"{len(texts):,} messages inserted in {time.monotonic() - begun:,.1f} s")
    half = len(texts) // 2
    before = _alone(engine, texts[:half])
    with consuming(settings, pool, engine):
        job_s, parts = _job(pool)
        after = _alone(engine, texts[half:])
        again_s, later = _job(pool)
    alone_s = before + after
    print(f"engine alone: {len(texts) / alone_s:,.0f} messages/s ({alone_s:,.1f} s)")
    for part in parts:
        print(f"part {part}: {parts[part]}")
    print(f"the job again, without new messages: {sum(again_s.values()):,.1f} s")
    print(f"topics again: {later['topics']}")
    sentiment_s = job_s["sentiment"]
    ratio = alone_s / sentiment_s
    print(
        f"part sentiment: {len(texts) / sentiment_s:,.0f} messages/s ({sentiment_s:,.1f} s), "
        f"{ratio:.2f} of the engine"
    )
    print({name: round(passed, 1) for name, passed in job_s.items()})
    return 0 if ratio >= 0.8 else 1


def _alone(engine: Engine, texts: list[str]) -> float:
    """Return the seconds in which the engine tokenises and embeds the texts, in calls as large as a page."""
    begun = time.monotonic()
    for first in range(0, len(texts), MESSAGES_PER_PAGE):
        ids = engine.tokeniser.ids(
            [text[:MAX_CHARACTERS] for text in texts[first : first + MESSAGES_PER_PAGE]]
        )
        engine.embed_ids([one[: engine.tokeniser.max_content_tokens] for one in ids])
    return time.monotonic() - begun


def _job(pool: ConnectionPool) -> tuple[dict[str, float], dict[str, object]]:
    """Run a job for all customers. Return the seconds of each stage, and the counts of each part."""
    with pool.connection() as connection:
        id = queue.submit(connection, ORGANISATION, ENRICH_CUSTOMER_PROFILE, {}).id

    def read() -> Job:
        with pool.connection() as connection:
            return get_job(connection, ORGANISATION, id)

    while not (job := read()).state.ended:
        time.sleep(POLL_S)
    assert job.state == JobState.SUCCEEDED, job.error
    with pool.connection() as connection:
        stages = connection.execute(
            "SELECT stage, extract(epoch FROM ended_at - started_at)::float8 FROM job_stages "
            "WHERE organisation = %s AND job = %s",
            [ORGANISATION, id],
        )
        return dict(stages.fetchall()), job.result["parts"]


def _insert(pool: ConnectionPool, texts: list[str]) -> None:
    start = datetime.now(UTC) - timedelta(days=60)
    with pool.connection() as connection:
        ensure_organisation(connection, ORGANISATION)
    for first in range(0, len(texts), EVENTS_AT_ONCE):
        events = [
            {
                "id": str(place),
                "source": "/bench",
                "type": "message.created",
                "time": (start + timedelta(seconds=40 * place)).isoformat(),
                "subject": f"customer-{place // MESSAGES_PER_CUSTOMER}",
                "data": {
                    "conversation_id": f"talk-{place // MESSAGES_PER_CUSTOMER}",
                    "role": "user",
                    "text": texts[place],
                },
            }
            for place in range(first, min(first + EVENTS_AT_ONCE, len(texts)))
        ]
        read, faults = read_events(ORGANISATION, events)
        assert not faults, faults[:3]
        with pool.connection() as connection:
            ingest(connection, ORGANISATION, read)


if __name__ == "__main__":
    sys.exit(main())
