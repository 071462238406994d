"""A listener keeps few changed jobs for a slow client, and its stream ends if the changes cannot be read."""

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest

from cluster.jobs.changes.job_changes import ChangeReader
from cluster.jobs.jobs import Job, JobState, PriorityClass
from serve_app.routes.jobs import job_changes
from serve_app.routes.jobs.job_changes import ChangeFeed, JobChanges
from tests.serve_app.conftest import Server


def job(id: str, *, organisation: str = "acme", done: int = 0) -> Job:
    """A queued job; a field that this test does not need is None."""
    values: dict[str, Any] = {field.name: None for field in fields(Job)}
    values |= {"organisation": organisation, "id": id, "kind": "index_file", "state": JobState.QUEUED}
    values |= {
        "input": {},
        "done": done,
        "unit": "page",
        "priority_class": PriorityClass.MEDIUM,
        "priority": 5,
    }
    values |= {"attempt": 0, "last_attempt": 3, "by_command": False, "cancel_asked": False}
    return Job(**{**values, "created_at": datetime.now(UTC)})


async def test_a_slow_client_reads_the_list_again_instead_of_all_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job_changes, "MAX_JOBS", 2)
    changes = JobChanges("acme")
    assert await changes.next(1) is not None  # the event "ready"
    changes.add([job("job_1"), job("job_2"), job("job_3"), job("job_4", organisation="other")])
    changes.add([job("job_1", done=7), job("job_5")])
    assert len(changes._changed) == 2
    batch = await changes.next(1)
    assert batch is not None
    data = batch.events[0].data
    assert [(one["id"], one["progress"]["done"]) for one in data["data"]] == [("job_1", 7), ("job_2", 0)]
    assert data["has_more"] is True
    changes.add([job("job_6")])
    batch = await changes.next(1)
    assert batch is not None
    assert batch.events[0].data["has_more"] is False


async def test_a_stream_whose_changes_cannot_be_read_ends_and_the_next_one_works(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_changes, "POLL_S", 0.01)
    feed = ChangeFeed(server.service)
    source = await feed.follow("acme")
    assert await source.next(1) is not None
    with monkeypatch.context() as broken:

        def fails(*_: object) -> list[Job]:
            raise RuntimeError("a fault")

        broken.setattr(ChangeReader, "read", fails)
        with pytest.raises(RuntimeError, match="a fault"):
            await source.next(30)
    again = await feed.follow("acme")
    assert await again.next(1) is not None
    assert await again.next(0.1) is None
