"""``python -m data_jobs.evaluate_agents`` asks the agents over HTTP, and fails if they have become worse."""

import json
from pathlib import Path

import pytest

from data_jobs import evaluate_agents
from tests.serve_app.answers.conftest import ChattingServer, NewAgent

SWIFT = "Swifts sleep on the wing and land only to nest."
HERON = "Herons stand still before they strike."


@pytest.fixture
def environment(chatting: ChattingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the endpoint, as variables of this process."""
    settings = chatting.server.service.settings
    monkeypatch.setenv("CLUSTER_HOME", str(settings.home))
    monkeypatch.setenv("CLUSTER_ORGANISATION", settings.organisation)
    if settings.database_url is not None:
        monkeypatch.setenv("CLUSTER_DATABASE_URL", settings.database_url.get_secret_value())


def golden(path: Path, agent: str) -> Path:
    lines = [
        {"agent": agent, "question": "Where do swifts sleep?", "sentence": "swifts  SLEEP on the wing"},
        {"agent": agent, "question": "How do herons hunt?", "file": "birds.pdf"},
        {"agent": agent, "question": "How do herons strike?", "sentence": "Owls hear mice under snow."},
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


@pytest.mark.usefixtures("environment")
def test_the_measures_are_printed_compared_and_written_as_a_page(
    chatting: ChattingServer, new_agent: NewAgent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = new_agent(SWIFT, HERON)
    path, page = golden(tmp_path / "golden.jsonl", agent.definition.external_id), tmp_path / "page.html"
    arguments = [str(path), "--url", f"{chatting.server.url}/v1", "--html", str(page)]
    assert evaluate_agents.main(arguments) == 0
    first = capsys.readouterr()
    assert "0.667" in first.out
    assert "first evaluation" in first.err
    assert "Owls hear mice" in page.read_text(encoding="utf-8")
    assert evaluate_agents.main(arguments) == 0

    new_agent(HERON, external_id=agent.definition.external_id)  # the agent no longer knows swifts
    assert evaluate_agents.main(arguments) == 1
    worse = capsys.readouterr().err
    assert "worse: all agents: hit_at_5 was 0.667 and is 0.333" in worse
    assert evaluate_agents.main([*arguments, "--tolerance", "0.5"]) == 0
    listed = chatting.http.get("/v1/conversations", params={"limit": 100}).json()["data"]
    assert agent.id not in {conversation["agent"] for conversation in listed}


@pytest.mark.usefixtures("environment")
def test_questions_without_an_answer_are_named_and_fail_the_evaluation(
    chatting: ChattingServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = golden(tmp_path / "golden.jsonl", "nobody")

    assert evaluate_agents.main([str(path), "--url", f"{chatting.server.url}/v1"]) == 1
    error = capsys.readouterr().err
    assert "The model agent:nobody does not exist" in error
    assert "3 of 3 questions failed" in error


def test_a_file_with_faults_asks_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "golden.jsonl"
    path.write_text('{"agent": "a"}\n{"agent": "a", "question": "Why?", "nothing": true}')

    assert evaluate_agents.main([str(path)]) == 2
    error = capsys.readouterr().err
    assert "line 1: question" in error
    assert "no question was asked" in error
