"""The heuristics by embeddings are computed with the served model from a sample of conversations."""

from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg_pool import ConnectionPool

from cluster.engines import Registry, open_engine
from cluster.jobs import queue
from cluster.jobs.jobs import JobState
from cluster.jobs.kinds import ESTIMATE_QUALITY
from cluster.platform_data.ingestion import ingest
from cluster.platform_data.read_events import read_events
from cluster.settings import Settings
from tests.data_jobs.running_consumer import LocalClient, consuming

#: A conversation: the role, the text, and the sources of an answer.
SAID: list[tuple[str, str, list[Any]]] = [
    ("user", "How do I reset my password?", []),
    (
        "assistant",
        "Open the settings and choose Reset password.",
        ["To reset a password, open the settings."],
    ),
    ("user", "How can I reset the password?", []),
    ("assistant", "Bananas are rich in potassium.", [{"text": "To reset a password, open the settings."}]),
    ("user", "When does the shop in Berlin open?", []),
    ("assistant", "At nine.", [{"page": 3}]),
]


def send(pool: ConnectionPool, organisation: str, said: list[tuple[str, str, list[Any]]]) -> None:
    begin = datetime.now(UTC) - timedelta(hours=5)
    events = [
        {
            "id": str(number),
            "source": "/quality",
            "type": "message.created",
            "time": (begin + timedelta(minutes=number)).isoformat(),
            "subject": "customer",
            "data": {"conversation_id": "c", "agent_id": "a", "role": role, "text": text, "sources": sources},
        }
        for number, (role, text, sources) in enumerate(said)
    ]
    read, faults = read_events(organisation, events)
    assert not faults
    with pool.connection() as connection:
        ingest(connection, organisation, read)


def test_a_job_estimates_rephrased_questions_and_grounded_answers(
    settings: Settings, pool: ConnectionPool, organisation: str
) -> None:
    send(pool, organisation, SAID)
    engine = open_engine(Registry(settings).default)
    client = LocalClient(settings, pool, engine, organisation)
    with pool.connection() as connection:
        id = queue.submit(connection, organisation, ESTIMATE_QUALITY, {"days": 1, "sample": 100}).id
        nothing = queue.submit(
            connection,
            organisation,
            ESTIMATE_QUALITY,
            {"days": 1, "sample": 100, "agent_id": "agent_none"},
        ).id
    with consuming(settings, pool, engine):
        job, empty = client.ended(id), client.ended(nothing)
    assert (job.state, empty.state) == (JobState.SUCCEEDED, JobState.SUCCEEDED), (job.error, empty.error)
    result = job.result or {}
    assert (result["rephrase_rate"], result["rephrase_n"]) == (0.5, 2)
    assert (result["groundedness"], result["groundedness_n"]) == (0.5, 2)
    assert all(text.startswith("Heuristic: ") for text in result["definitions"].values())
    assert (empty.result or {})["rephrase_rate"] is None
    with pool.connection() as connection:
        usage = connection.execute(
            "SELECT kind, source, quantity > 30 FROM usage_events WHERE organisation = %s", [organisation]
        ).fetchall()
    assert usage == [("embedding", "job", True)]
