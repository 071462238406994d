"""Answers with positive feedback become golden questions, each with the file that the answer cites first."""

import json
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from cluster.evaluation.golden import read_golden
from cluster.platform_data.feedback import FeedbackRating, give_feedback
from cluster.platform_data.ids import row_id
from cluster.settings import Settings
from data_jobs import export_feedback
from tests.cluster.analytics.test_rollups import message, send

SOURCES = [{"number": 1, "file_id": "file-1"}, {"number": 2, "file_id": "file-2"}]


def test_each_question_that_begins_a_conversation_has_the_file_that_helped(
    settings: Settings,
    connection: Connection[Any],
    organisation: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    asked = {"role": "user", "conversation": "a"}
    answered = {"role": "assistant", "sources": SOURCES}
    send(
        connection,
        organisation,
        message(1, **asked, text="Where?"),
        message(2, conversation="a", text="There [2, 1].", **answered) | {"id": "cited"},
        message(3, **asked, text="Why?"),
        message(4, conversation="a", text="Because [1].", **answered) | {"id": "follow-up"},
        message(5, conversation="b", text="Who?"),
        message(6, conversation="b", text="Nobody.", **answered) | {"id": "uncited"},
        message(7, conversation="c", text="When?"),
        message(8, conversation="c", text="Never [1].", **answered) | {"id": "bad"},
        message(9, conversation="d", text="How?"),
        message(10, conversation="d", text="Somehow.", role="assistant") | {"id": "without sources"},
    )
    for id in ("cited", "follow-up", "uncited", "bad", "without sources"):
        rating = FeedbackRating.NEGATIVE if id == "bad" else FeedbackRating.POSITIVE
        give_feedback(connection, organisation, row_id("msg", organisation, "/test", id), rating)
    monkeypatch.setattr("cluster.command.read_settings", lambda: settings)
    file = tmp_path / "golden.jsonl"
    assert export_feedback.main([str(file), "--organisation", organisation]) == 0
    agent = row_id("agent", organisation, "helper")
    assert [json.loads(line) for line in file.read_text().splitlines()] == [
        {"agent": agent, "question": "Where?", "file": "file-2"},
        {"agent": agent, "question": "Who?", "file": "file-1"},
    ]
    questions, faults = read_golden(file.read_bytes(), name=file.name)
    assert [question.file for question in questions] == ["file-2", "file-1"]
    assert not faults
    assert export_feedback.main([str(file), "--organisation", organisation, "--agent", "agent_0"]) == 0
    assert file.read_text() == ""
    assert export_feedback.main([str(tmp_path / "no folder" / "a"), "--organisation", organisation]) == 1
