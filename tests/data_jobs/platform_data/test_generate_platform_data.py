"""The generator gives the same events for the same seed, and the database agrees with the printed truth."""

import json
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.platform_data.ingestion import ingest
from cluster.platform_data.read_events import read_events
from data_jobs.generate_platform_data import main
from data_jobs.platform_data.invented_platform import InventedPlatformOptions, invent
from data_jobs.platform_data.sent_events import ZONES, sent_events, truth
from data_jobs.platform_data.write_events import insert_platform
from tests.conftest import new_organisation

EVENTS = 3_000
#: The tables whose rows follow from events.
FOLLOWING = ("agents", "customers", "conversations", "messages")


def generated(path: Path, capsys: pytest.CaptureFixture[str], seed: int = 7) -> dict[str, Any]:
    """Write a file, and return the printed truth."""
    assert main(["--seed", str(seed), "--events", str(EVENTS), "--output", str(path)]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.jsonl", "b.jsonl", "a.parquet", "b.parquet"):
        generated(tmp_path / name, capsys)
    sums = {path.name: sha256(path.read_bytes()).digest() for path in (*tmp_path.iterdir(),)}
    assert sums["a.jsonl"] == sums["b.jsonl"]
    assert sums["a.parquet"] == sums["b.parquet"]
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_bytes().splitlines()]
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [(row["id"], row["time"], json.loads(row["data"])) for row in rows] == [
        (line["id"], line["time"], line["data"]) for line in lines
    ]
    generated(tmp_path / "c.jsonl", capsys, seed=8)
    assert sha256((tmp_path / "c.jsonl").read_bytes()).digest() != sums["a.jsonl"]


def test_events_are_late_duplicated_and_out_of_order_in_several_zones() -> None:
    platform = invent(InventedPlatformOptions(seed=1, events=EVENTS, duplicates=10, late=20))
    sent = list(sent_events(platform))
    times = [datetime.fromisoformat(event["time"]) for event in sent]
    assert len({event["id"] for event in sent}) == EVENTS
    assert 0.07 < len(sent) / EVENTS - 1 < 0.13
    latest, late = times[0], 0
    for time in times:
        late += (latest - time).total_seconds() > 3_600
        latest = max(latest, time)
    assert 0.2 < late / len(sent) < 0.35  # late events and duplicates
    assert len({event["time"][-6:] for event in sent}) >= len(ZONES) + 2  # both offsets of two zones
    assert read_events("a", sent)[1] == []


def test_the_database_agrees_with_the_truth(pool: ConnectionPool, connection: Connection[Any]) -> None:
    owner = new_organisation(pool)
    platform = invent(InventedPlatformOptions(seed=3, events=EVENTS, agents=3))
    found = truth(platform)
    done: list[int] = []
    assert insert_platform(pool, platform, owner, done.append) == found["events"] == EVENTS
    assert insert_platform(pool, platform, owner, done.append) == 0
    assert done == [found["sent"]] * 2
    types = connection.execute(
        "SELECT type, count(*) FROM customer_events WHERE organisation = %s GROUP BY type", [owner]
    ).fetchall()
    assert dict(types) == found["types"]
    agents = connection.execute(
        "SELECT agent.external_id, json_build_object('messages', count(*),"
        " 'conversations', count(DISTINCT conversation), 'customers', count(DISTINCT talk.customer),"
        " 'input_tokens', sum(input_tokens), 'output_tokens', sum(output_tokens),"
        " 'cost', sum(cost)::numeric(20, 9)::text, 'errors', count(error_class))"
        " FROM messages JOIN agents agent ON (agent.organisation, agent.id) = (messages.organisation, agent)"
        " JOIN conversations talk ON (talk.organisation, talk.id) = (messages.organisation, conversation)"
        " WHERE messages.organisation = %s GROUP BY agent.external_id",
        [owner],
    ).fetchall()
    assert dict(agents) == found["agents"]


def test_the_rows_are_those_that_the_route_makes_of_the_same_events(
    pool: ConnectionPool, connection: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_jobs.platform_data.event_rows.EVENTS_PER_PART", 700)
    owner = new_organisation(pool)
    platform = invent(InventedPlatformOptions(seed=5, events=2_000, duplicates=10))

    def stored() -> dict[str, Any]:
        return {
            table: connection.execute(
                f"SELECT to_jsonb({table}) - 'received_at' - 'created_at' FROM {table}"
                f" WHERE organisation = %s ORDER BY {order}",
                [owner],
            ).fetchall()
            for table, order in (("customer_events", "source, id"), *((one, "id") for one in FOLLOWING))
        }

    insert_platform(pool, platform, owner, lambda done: None)
    by_rows = stored()
    for table in ("messages", "customer_events", "conversations", "customers", "agents"):
        connection.execute(f"DELETE FROM {table} WHERE organisation = %s", [owner])
    events, faults = read_events(owner, sent_events(platform))
    with pool.connection() as other:
        assert ingest(other, owner, events).accepted == 2_000
    assert faults == []
    assert by_rows == stored()
