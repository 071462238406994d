"""A folder with any content is listed completely, and nothing in it blocks a run."""

import os
import socket
from pathlib import Path

import pytest

from cluster.errors import InvalidInput
from cluster.records import Outcome
from cluster.settings import Settings
from data_jobs.sources import list_sources
from data_jobs.sources.local_files import files_below, read_file
from data_jobs.stages.document_row import new_row
from data_jobs.stages.read import Read


def below(root: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """List a folder; returns the paths relative to it, and the folders that were left out with the reason."""
    left_out: list[tuple[str, str]] = []
    found = [
        os.path.relpath(path, root) for path in files_below(str(root), lambda *what: left_out.append(what))
    ]
    return found, [(os.path.relpath(folder, root), why) for folder, why in left_out]


def write(*paths: Path) -> None:
    """Write a file at each path."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)


@pytest.mark.parametrize("linked", [False, True], ids=["itself", "a link to it"])
@pytest.mark.parametrize("kind", ["a named pipe", "a socket", "a device", "a folder"])
def test_a_special_file_is_never_opened_and_ends_unreadable(tmp_path: Path, kind: str, linked: bool) -> None:
    special = tmp_path / "special"
    with socket.socket(socket.AF_UNIX) as listener:
        if kind == "a named pipe":
            os.mkfifo(special)
        elif kind == "a socket":
            listener.bind(str(special))
        elif kind == "a folder":
            special.mkdir()
        else:
            special = Path("/dev/zero")
        path = special
        if linked:
            path = tmp_path / "link.pdf"
            path.symlink_to(special)
        row = Read(Settings())(new_row("doc", path.as_uri(), ""))
    assert (row["outcome"], row["detail"]) == (
        Outcome.UNREADABLE,
        f"could not be read: it is {kind}, not a file",
    )


def test_pipes_and_links_to_nothing_are_listed_so_that_they_end_in_an_outcome(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to_pipe").symlink_to(tmp_path / "pipe")
    (tmp_path / "to_nothing").symlink_to(tmp_path / "nothing")
    (tmp_path / "to_itself").symlink_to(tmp_path / "to_itself")
    found = [source.uri for source in list_sources(str(tmp_path), on_left_out=print)]
    assert found == [(tmp_path / name).as_uri() for name in ("pipe", "to_itself", "to_nothing", "to_pipe")]
    outcomes = [Read(Settings())(new_row("doc", uri, ""))["outcome"] for uri in found]
    assert outcomes == [Outcome.UNREADABLE] * 4


def test_a_file_that_turns_into_a_pipe_before_it_is_opened_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.txt"
    file.write_text("x")
    was = os.stat(file)
    file.unlink()
    os.mkfifo(file)
    monkeypatch.setattr(os, "stat", lambda *_, **__: was)
    with pytest.raises(OSError, match="named pipe"):
        read_file(str(file), max_bytes=10)


def test_a_file_that_reports_size_zero_is_read_whole() -> None:
    assert os.stat("/proc/self/status").st_size == 0
    assert read_file("/proc/self/status", max_bytes=100_000).startswith(b"Name:")


@pytest.mark.parametrize("reported", [3, 30], ids=["grows", "shrinks"])
def test_a_file_that_changes_its_size_while_it_is_read_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reported: int
) -> None:
    file = tmp_path / "log.txt"
    file.write_bytes(b"x" * reported)
    was = os.stat(file)
    file.write_bytes(b"0123456789")
    monkeypatch.setattr(os, "fstat", lambda _: was)
    assert read_file(str(file), max_bytes=100) == b"0123456789"
    assert len(read_file(str(file), max_bytes=5)) == 6


def test_linked_folders_are_followed_once_and_after_all_others(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    write(root / "z/real.txt", root / "b.txt", elsewhere / "far/c.txt", elsewhere / ".hidden")
    (root / "a_link").symlink_to(root / "z")
    (root / "loop").symlink_to(root)
    (root / "far").symlink_to(elsewhere)
    (root / "z" / "far_too").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(root)
    assert below(root) == (["b.txt", "z/real.txt", "far/far/c.txt"], [])


def test_a_link_to_a_folder_above_is_reported_and_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root / "a.txt", tmp_path / "private.txt")
    (root / "up").symlink_to("..")
    (root / "top").symlink_to("/")
    found, left_out = below(root)
    assert found == ["a.txt"]
    assert [(what, "contains the one to ingest" in why) for what, why in left_out] == [
        ("top", True),
        ("up", True),
    ]


def test_a_folder_that_cannot_be_listed_is_reported_and_the_others_are_listed(tmp_path: Path) -> None:
    write(tmp_path / "b.txt", tmp_path / "z.txt")
    at = os.open(tmp_path, os.O_RDONLY)
    for _ in range(21):  # a path of more than 4,096 bytes, which even root cannot list
        os.mkdir("d" * 200, dir_fd=at)
        below_it = os.open("d" * 200, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below_it
    os.close(at)
    found, left_out = below(tmp_path)
    assert found == ["b.txt", "z.txt"]
    ((folder, why),) = left_out
    assert folder.endswith("d" * 200)
    assert why == "the folder could not be listed: File name too long; nothing in it was ingested"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_without_permission_is_reported(tmp_path: Path) -> None:
    write(tmp_path / "b.txt", tmp_path / "closed/a.txt")
    (tmp_path / "closed").chmod(0)
    try:
        found, left_out = below(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert (found, [folder for folder, _ in left_out]) == (["b.txt"], ["closed"])
    assert "Permission denied" in left_out[0][1]


@pytest.mark.parametrize("kind", ["a named pipe", "a device"])
def test_a_location_that_is_neither_a_file_nor_a_folder_is_refused(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    location = str(tmp_path / "pipe") if kind == "a named pipe" else "/dev/zero"
    with pytest.raises(InvalidInput, match=f"it is {kind}, not a file"):
        list(list_sources(location, on_left_out=print))
