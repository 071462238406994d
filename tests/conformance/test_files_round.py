"""Unmodified OpenAI clients use files and vector stores: oldest and newest for Python, newest for Node."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from cluster.settings import Settings
from data_jobs.worker.consumer import Consumer
from tests.conformance.conftest import PYTHON
from tests.data_jobs.running_consumer import consuming
from tests.serve_app.conftest import Server
from tests.waiting import LONGEST_WAIT_S

NOTES = 50
PUMP = "# The pump\n\nOnly the shift supervisor may stop the pump. Valve 17 is closed first.\n"
QUESTION = "who may stop the pump?"
TEXTS = [
    f"Note {number}: the cupboard of room {number * 13} holds {number} boxes of blue chalk."
    for number in range(NOTES)
]


@pytest.fixture(scope="module")
def consumer(settings: Settings, pool: ConnectionPool, server: Server) -> Iterator[Consumer]:
    with consuming(settings, pool, server.service.models.default.engine) as consumer:
        yield consumer


@pytest.mark.parametrize("client", ["oldest", "newest", "node"])
def test_a_client_uploads_attaches_searches_and_deletes_files(
    server: Server, consumer: Consumer, client: str, request: pytest.FixtureRequest
) -> None:
    if client == "node":
        command: list[Path | str] = [
            request.getfixturevalue("node"),
            request.getfixturevalue("node_folder") / "files_round.mjs",
        ]
    else:
        python = request.getfixturevalue("client_python" if client == "newest" else "oldest_openai")
        command = [python, PYTHON / "files_round.py"]
    task = {"base_url": f"{server.url}/v1", "texts": TEXTS, "pump": PUMP, "question": QUESTION}
    done = subprocess.run(
        command, input=json.dumps(task), capture_output=True, text=True, timeout=LONGEST_WAIT_S
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    gone = found.pop("gone")
    assert "NotFoundError" in gone["classes"].split()
    assert found == {
        "attached": "completed",
        "batch": ["completed", NOTES],
        "failed": ["failed", "invalid_file"],
        "hits": ["pump.md"],
        "everywhere": ["note-07.txt", "pump.md"],
        "files": NOTES + 2,
        "distinct": NOTES + 2,
        "content": found["content"],
        "counts": {"in_progress": 0, "completed": NOTES + 1, "failed": 1, "cancelled": 0, "total": NOTES + 2},
        "downloaded": PUMP,
        "after": 0,
        "deleted": [True, True],
    }
    assert "Only the shift supervisor may stop the pump." in found["content"]
