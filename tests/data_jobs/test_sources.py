"""Listing finds every file and reads none; reading stops at its limit."""

import os
from pathlib import Path

import pytest

from cluster.errors import InvalidInput, NotFound
from data_jobs.sources import SourceTooLarge, list_sources, read_source


def test_a_folder_gives_every_regular_file_in_order_and_no_hidden_one(tmp_path: Path) -> None:
    for name in ("b.txt", "a dir/ä#1%.txt", ".hidden", ".git/config", "c/d/e.pdf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path)
    found = list(list_sources(str(tmp_path)))
    assert [read_source(source.uri, max_bytes=100).decode() for source in found] == ["b.txt", "a dir/ä#1%.txt", "c/d/e.pdf"]


def test_a_dangling_link_is_listed_so_that_it_ends_in_an_outcome(tmp_path: Path) -> None:
    (tmp_path / "gone.pdf").symlink_to(tmp_path / "nowhere")
    (source,) = list_sources(str(tmp_path))
    with pytest.raises(OSError, match="No such file"):
        read_source(source.uri, max_bytes=10)


def test_the_stamp_changes_with_the_content(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one")
    (before,) = list_sources(str(file))
    file.write_text("two")
    os.utime(file, ns=(0, 1))
    (after,) = list_sources(str(file))
    assert before.uri == after.uri
    assert before.stamp != after.stamp


def test_reading_stops_at_the_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 11)
    uri = (tmp_path / "a").as_uri()
    assert read_source(uri, max_bytes=11) == b"x" * 11
    with pytest.raises(SourceTooLarge, match="CLUSTER_MAX_DOCUMENT_BYTES"):
        read_source(uri, max_bytes=10)


@pytest.mark.parametrize("location", ["http://127.0.0.1/a.pdf", "ftp://host/a", "github://a/b"])
def test_an_address_on_the_network_is_refused(location: str) -> None:
    with pytest.raises(InvalidInput, match="cannot read"):
        list(list_sources(location))


def test_nothing_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        list(list_sources(str(tmp_path / "missing")))


def test_other_storage_is_listed_the_same_way() -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe({"/bucket/b/2.txt": b"2", "/bucket/a.txt": b"1", "/bucket/.hidden": b"3"})
    found = [(source.uri, source.size) for source in list_sources("memory://bucket")]
    assert found == [("memory:///bucket/a.txt", 1), ("memory:///bucket/b/2.txt", 1)]
    assert read_source(found[0][0], max_bytes=5) == b"1"
