"""Usage that a dead process left in files is sent once, whatever its last write was."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from cluster.settings import MIB
from cluster.usage.events import EMBEDDING, REQUEST, UsageEvent, UsageSource
from serve_app.usage.usage_recorder import UsageRecorder
from serve_app.usage.write_ahead import UsageFolder, usage_line

AT = 1_764_365_059


def line(tokens: int, key: str | None = "key_1") -> bytes:
    """The line of a request with this number of tokens."""
    uses = [(UsageSource.HTTP, "m", EMBEDDING, tokens), (UsageSource.HTTP, "m", REQUEST, 1)]
    return usage_line(AT, "acme", key, None, uses)


@pytest.fixture
def dead(tmp_path: Path) -> UsageFolder:
    """The folder of a process that is dead, because its lock is free."""
    folder = UsageFolder.create(tmp_path)
    folder.file(1).write_bytes(line(5) + line(7) + line(11, key=None))
    return folder


def sent(root: Path) -> list[UsageEvent]:
    """The events that the next process sends."""
    events: list[UsageEvent] = []

    def write(some: Sequence[UsageEvent]) -> None:
        events.extend(some)

    UsageRecorder(write, root, max_bytes=MIB).close()
    return events


def sums(events: Sequence[UsageEvent]) -> dict[tuple[str | None, str], int]:
    """The quantities by key and kind."""
    return {(event.key, event.kind): event.quantity for event in events}


COMPLETE = {
    ("key_1", EMBEDDING): 12,
    ("key_1", REQUEST): 2,
    (None, EMBEDDING): 11,
    (None, REQUEST): 1,
}


def test_the_next_process_sends_the_files_of_a_dead_one_and_deletes_them(
    dead: UsageFolder, tmp_path: Path
) -> None:
    assert sent(tmp_path) == []  # its process is alive
    dead.close()
    events = sent(tmp_path)
    assert sums(events) == COMPLETE
    assert {event.at.timestamp() for event in events if event.at} == {AT - AT % 60}
    assert list(tmp_path.iterdir()) == []
    assert sent(tmp_path) == []


@pytest.mark.parametrize("missing", [1, 10, len(line(11, key=None)) - 1])
def test_a_line_that_was_not_written_completely_is_skipped(
    dead: UsageFolder, tmp_path: Path, missing: int
) -> None:
    file = dead.file(1)
    file.write_bytes(file.read_bytes()[:-missing] if missing > 1 else file.read_bytes()[:-2])
    dead.close()
    assert sums(sent(tmp_path)) == {("key_1", EMBEDDING): 12, ("key_1", REQUEST): 2}


def test_a_damaged_line_costs_no_other_line(dead: UsageFolder, tmp_path: Path) -> None:
    content = dead.file(1).read_bytes().replace(b",7]", b",9]")
    dead.file(1).write_bytes(content)
    dead.close()
    assert sums(sent(tmp_path)) == {**COMPLETE, ("key_1", EMBEDDING): 5, ("key_1", REQUEST): 1}


def test_the_ids_of_events_depend_on_the_file_alone(dead: UsageFolder, tmp_path: Path) -> None:
    kept = dead.file(1).read_bytes()
    dead.close()
    first = sent(tmp_path)
    dead.path.mkdir()
    (dead.path / "lock").touch()
    dead.file(1).write_bytes(kept)  # a crash before the file was deleted
    assert sent(tmp_path) == first
    dead.path.mkdir()
    (dead.path / "lock").touch()
    dead.file(2).write_bytes(kept)  # other work with equal sums
    assert not {event.id for event in sent(tmp_path)} & {event.id for event in first}


def test_a_file_in_a_newer_format_stays(dead: UsageFolder, tmp_path: Path) -> None:
    from zlib import crc32

    import orjson

    array = orjson.dumps([2, "whatever"])
    dead.file(1).write_bytes(b"%08x %b\n" % (crc32(array), array))
    dead.close()
    assert sent(tmp_path) == []
    assert dead.file(1).exists()
