"""A file of agents creates all or none, embeds what they share once, and the second time changes nothing.

tests/faults kills the worker and the command.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from cluster.agents import DefinedAgent, load_agent
from cluster.command import EXIT_FAILED, EXIT_USAGE
from cluster.database import bundled
from cluster.engines import Registry, open_engine
from cluster.errors import NotFound
from cluster.settings import Settings
from data_jobs.create_agents import main
from data_jobs.watching import EXIT_SOME_FAILED
from tests.data_jobs.running_consumer import consuming

#: Writes files into a folder, runs the command for the first of them, and returns the exit code, the result
#: and the lines about errors.
Create = Callable[..., tuple[int, dict[str, Any], list[str]]]
HANDBOOK = "# Handbook\n\nOnly the shift supervisor may stop the pump.\n\nValve 17 is closed first.\n"


@pytest.fixture(scope="module")
def worker(settings: Settings, pool: ConnectionPool) -> Iterator[None]:
    with consuming(settings, pool, open_engine(Registry(settings).default)):
        yield


@pytest.fixture
def create(
    settings: Settings,
    organisation: str,
    worker: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Create:
    monkeypatch.setenv("CLUSTER_DATABASE_URL", bundled.url(settings))
    monkeypatch.setenv("CLUSTER_HOME", str(settings.home))

    def run(agents: dict[str, Any], *options: str, **files: str | bytes) -> Any:
        (tmp_path / "agents.json").write_text(json.dumps(agents, indent=1))
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            (tmp_path / name.replace("_", ".")).write_bytes(data)
        code = main([str(tmp_path / "agents.json"), "--organisation", organisation, *options])
        printed = capsys.readouterr()
        return code, json.loads(printed.out or "{}"), printed.err.splitlines()

    return run


def counts(result: dict[str, Any]) -> dict[str, int]:
    names = ("created", "updated", "unchanged", "failed", "files")
    return {name: result[name] for name in names if result[name]}


def test_a_shared_file_is_embedded_once_and_the_second_run_changes_nothing(
    create: Create, pool: ConnectionPool, organisation: str
) -> None:
    agents = {
        "defaults": {"instructions": "Be brief.", "knowledge": [{"file": "handbook.md"}]},
        "agents": [
            {"external_id": "a", "knowledge": [{"text": "Agent a has the red key.", "name": "a.txt"}]},
            {"external_id": "b", "role": "Plumber", "retrieval": {"k": 3}},
            {"external_id": "c"},
        ],
    }
    code, result, _ = create(agents, handbook_md=HANDBOOK)
    assert (code, counts(result)) == (0, {"created": 3, "files": 2})
    a, b, c = (agent(pool, organisation, name) for name in "abc")
    assert (len(a.stores), b.stores, c.stores) == (2, c.stores, c.stores)
    assert set(b.stores) < set(a.stores)
    assert (a.definition.system_prompt, b.definition.system_prompt) == ("Be brief.", "Your role: Plumber")
    used = embedded(pool, organisation)
    assert used >= result["tokens_embedded"] > 0
    code, again, _ = create(agents, handbook_md=HANDBOOK)
    assert (code, counts(again)) == (0, {"unchanged": 3})
    agents["agents"].append({"external_id": "d"})
    agents["agents"][1]["retrieval"]["k"] = 4
    code, more, _ = create(agents, handbook_md=HANDBOOK)
    assert counts(more) == {"created": 1, "updated": 1, "unchanged": 2, "files": 1}
    assert (again["tokens_embedded"], more["tokens_embedded"]) == (0, 0)
    assert embedded(pool, organisation) == used
    assert agent(pool, organisation, "d").stores == b.stores


def test_atomic_changes_nothing_if_one_agent_fails_and_partial_creates_the_others(
    create: Create, pool: ConnectionPool, organisation: str
) -> None:
    agents = {
        "agents": [
            {"external_id": "good", "knowledge": [{"file": "handbook.md"}]},
            {"external_id": "bad", "knowledge": [{"file": "handbook.md"}, {"file": "torn.pdf"}]},
        ]
    }
    files: dict[str, Any] = {"handbook_md": HANDBOOK, "torn_pdf": b"%PDF-1.7\n%%EOF\n"}
    code, result, lines = create(agents, **files)
    assert (code, counts(result)) == (EXIT_FAILED, {"failed": 2, "files": 2})
    assert "torn.pdf" in lines[-1]
    assert [(one["external_id"], one["line"]) for one in result["failures"]] == [("bad", 11)]
    with pytest.raises(NotFound):
        agent(pool, organisation, "good")
    assert things(pool, organisation) == {"files": 0, "vector_stores": 0, "agent_sources": 0, "agents": 0}
    code, result, _ = create(agents, "--mode", "partial", **files)
    assert (code, counts(result)) == (EXIT_SOME_FAILED, {"created": 1, "failed": 1, "files": 2})
    assert things(pool, organisation) == {"files": 1, "vector_stores": 1, "agent_sources": 1, "agents": 1}


def test_every_error_is_printed_and_nothing_is_created(
    create: Create, pool: ConnectionPool, organisation: str
) -> None:
    agents = {
        "defaults": {"knowledge": [{"file": "missing.md"}]},
        "agents": [
            {"external_id": "a", "temperature": 3},
            {"external_id": "a", "knowledge": [{"file_id": "file-0"}]},
            {"external_id": "b", "knowledge": [{"vector_store_id": "vs_0"}]},
        ],
    }
    for options in ([], ["--validate"]):
        code, result, lines = create(agents, *options)
        assert (code, result) == (EXIT_USAGE, {})
        assert lines == [
            "line 5: defaults.knowledge[0].file: the file 'missing.md' cannot be read: "
            "No such file or directory",
            "line 12: agents[0].temperature: input should be less than or equal to 2",
            "line 15: agents[1].external_id: agent 1 has this id, too; each id may be given once",
            "line 18: agents[1].knowledge[0].file_id: no file 'file-0'",
            "line 26: agents[2].knowledge[0].vector_store_id: no vector store 'vs_0'",
            "5 errors; nothing was changed",
        ]
    assert things(pool, organisation) == {"files": 0, "vector_stores": 0, "agent_sources": 0, "agents": 0}


#: Twelve kinds of errors in an agent: the fields, and the place and the beginning of each message.
KINDS: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"temperature": 2.5}, "temperature", "input should be less than or equal to 2"),
    ({"temperature": "hot"}, "temperature", "input should be a valid number"),
    ({"name": "x" * 257}, "name", "string should have at most 256 characters"),
    ({"colour": "red"}, "colour", "extra inputs are not permitted"),
    ({"greeting": "  "}, "greeting", "must not be blank"),
    ({"goal": "a\0"}, "goal", "must not have a NUL character"),
    ({"instructions": "a", "role": "b"}, "", "has instructions and role"),
    ({"knowledge": [{"text": "a", "file_id": "b"}]}, "knowledge[0]", "must have exactly one of"),
    ({"knowledge": [{"file": "none.md"}]}, "knowledge[0].file", "the file 'none.md' cannot be read"),
    ({"knowledge": [{"file": "film.gif"}]}, "knowledge[0].file", "the file 'film.gif' is image/gif"),
    ({"knowledge": [{"file_id": "file-0"}]}, "knowledge[0].file_id", "no file 'file-0'"),
    ({"knowledge": [{"vector_store_id": "vs_0"}]}, "knowledge[0].vector_store_id", "no vector store 'vs_0'"),
)


def test_37_errors_of_12_kinds_are_37_lines_and_no_row(
    create: Create, pool: ConnectionPool, organisation: str
) -> None:
    wrong = [KINDS[number % len(KINDS)] for number in range(36)]
    agents = [{"external_id": f"agent {number}", **fields} for number, (fields, *_) in enumerate(wrong)]
    agents.append({"external_id": "agent 0"})
    code, _, lines = create({"agents": agents}, film_gif=b"GIF89a" + bytes(16))
    assert (code, lines.pop()) == (EXIT_USAGE, "37 errors; nothing was changed")
    assert len(lines) == 37
    for number, (_, place, message) in enumerate(wrong):
        path = f"agents[{number}]{'.' if place else ''}{place}"
        assert re.match(rf"line \d+: {re.escape(path)}: {re.escape(message)}", lines[number])
    assert lines[-1].endswith("agent 1 has this id, too; each id may be given once")
    assert things(pool, organisation) == {"files": 0, "vector_stores": 0, "agent_sources": 0, "agents": 0}


def agent(pool: ConnectionPool, organisation: str, external_id: str) -> DefinedAgent:
    with pool.connection() as connection:
        return load_agent(connection, organisation, external_id)


def things(pool: ConnectionPool, organisation: str) -> dict[str, int]:
    """The number of rows of each table that an import writes, without rows that are being deleted."""
    tables = {"files": "", "vector_stores": "AND deleted_at IS NULL", "agent_sources": "", "agents": ""}
    with pool.connection() as connection:
        return {
            table: connection.execute(
                f"SELECT count(*) FROM {table} WHERE organisation = %s {live}",  # type: ignore[arg-type]
                [organisation],
            ).fetchone()[0]  # type: ignore[index]
            for table, live in tables.items()
        }


def embedded(pool: ConnectionPool, organisation: str) -> int:
    """The tokens of all usage of embedding."""
    with pool.connection() as connection:
        row = connection.execute(
            "SELECT sum(quantity) FROM usage_events WHERE organisation = %s AND kind = 'embedding'",
            [organisation],
        ).fetchone()
    assert row is not None
    return int(row[0])
