"""Many agents share a handbook, and the worker and the command that create them are killed.

The next run completes them, and one after it changes nothing. The handbook is embedded once.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import pymupdf
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.agents import load_agent
from cluster.local.environment import settings_variables
from cluster.settings import Settings
from tests.conftest import ROOT, new_organisation
from tests.faults.worker_processes import Workers
from tests.waiting import LONGEST_COMMAND_S, until

#: Number of agents, and of pages of the handbook; ``make faults AGENTS=200 PAGES=100`` takes more.
AGENTS, PAGES = int(os.environ.get("AGENTS", "40")), int(os.environ.get("PAGES", "20"))


@pytest.fixture(scope="module")
def file_of_agents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the agents, with the handbook and the page of each agent beside it."""
    folder = tmp_path_factory.mktemp("agents")
    with pymupdf.open() as handbook:
        for number in range(PAGES):
            text = f"Section {number}. Valve {number} is closed by shift {number % 7} before pump {number}."
            handbook.new_page().insert_text((72, 72), text)
        handbook.save(folder / "handbook.pdf")
    for number in range(AGENTS):
        (folder / f"{number}.md").write_text(f"# Agent {number}\n\nThe door code is {number * 7919}.\n")
    agents = [
        {"external_id": f"agent {number}", "knowledge": [{"file": f"{number}.md"}]}
        for number in range(AGENTS)
    ]
    (folder / "agents.json").write_text(
        json.dumps({"defaults": {"knowledge": [{"file": "handbook.pdf"}]}, "agents": agents})
    )
    return folder / "agents.json"


def test_killed_in_the_middle_and_run_again_every_agent_is_there_and_nothing_is_embedded_twice(
    own: Settings,
    own_pool: ConnectionPool,
    asking: Connection[Any],
    file_of_agents: Path,
    tmp_path: Path,
    chance: Random,
) -> None:
    owner = new_organisation(own_pool)

    def count(statement: str) -> int:
        row = asking.execute(f"SELECT {statement} organisation = %s", [owner]).fetchone()  # type: ignore[arg-type]
        return 0 if row is None or row[0] is None else int(row[0])

    indexed = "count(*) FROM vector_store_files WHERE status = 'completed' AND"
    with Workers(own, 1, tmp_path) as workers:
        with command(own, owner, file_of_agents) as first:
            for share in sorted(chance.uniform(0.05, 0.9) for _ in range(2)):
                until(lambda: count(indexed), lambda now, share=share: now >= share * AGENTS)
                workers.alive()[0].send_signal(signal.SIGKILL)
                time.sleep(chance.uniform(0.0, 0.5))
            first.send_signal(signal.SIGKILL)
        again = ended(command(own, owner, file_of_agents))
        assert again["created"] + again["updated"] + again["unchanged"] == AGENTS
        assert count("count(*) FROM agents WHERE definition IS NOT NULL AND") == AGENTS
        assert count(indexed) == count("count(*) FROM documents WHERE") == AGENTS + 1
        used = count("sum(quantity) FROM usage_events WHERE kind = 'embedding' AND")
        wanted = count("sum(tokens) FROM documents WHERE")
        assert wanted <= used <= wanted + 2 * count("sum(chunks) FROM documents WHERE")  # special tokens
        last = ended(command(own, owner, file_of_agents))
        assert (last["unchanged"], last["tokens_embedded"], last["files"]) == (AGENTS, 0, 0)
        assert count("sum(quantity) FROM usage_events WHERE kind = 'embedding' AND") == used
    stores = [load_agent(asking, owner, f"agent {number}").stores for number in range(AGENTS)]
    assert {len(own_stores) for own_stores in stores} == {2}
    assert len({store for own_stores in stores for store in own_stores}) == AGENTS + 1
    assert count("count(*) FROM vector_stores WHERE deleted_at IS NULL AND") == AGENTS + 1


def command(settings: Settings, owner: str, path: Path) -> subprocess.Popen[str]:
    """Start the command that creates the agents of the file."""
    return subprocess.Popen(
        [sys.executable, "-m", "data_jobs.create_agents", str(path), "--organisation", owner],
        cwd=ROOT,
        env={**os.environ, **settings_variables(settings)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The result that the command prints."""
    out, errors = process.communicate(timeout=LONGEST_COMMAND_S)
    assert process.returncode == 0, errors
    result: dict[str, Any] = json.loads(out)
    return result
