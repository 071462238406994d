"""Listing finds every file and reads none; reading stops at its limit."""

import os
from pathlib import Path

import fsspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cluster.errors import InvalidInput, NotFound
from cluster.text.storable_text import is_text
from data_jobs.sources import SourceFile, SourceTooLarge, file_name, list_sources, read_source


def listed(location: Path | str) -> list[SourceFile]:
    """List a location; nothing may be left out."""
    left_out: list[tuple[str, str]] = []
    found = list(list_sources(str(location), on_left_out=lambda *what: left_out.append(what)))
    assert left_out == []
    return found


def test_a_folder_gives_every_regular_file_in_order_and_no_hidden_one(tmp_path: Path) -> None:
    for name in ("b.txt", "a dir/ä#1%.txt", ".hidden", ".git/config", "c/d/e.pdf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found = listed(tmp_path)
    assert [read_source(source.uri, max_bytes=100).decode() for source in found] == [
        "b.txt",
        "a dir/ä#1%.txt",
        "c/d/e.pdf",
    ]


def test_a_dangling_link_is_listed_so_that_it_ends_in_an_outcome(tmp_path: Path) -> None:
    (tmp_path / "gone.pdf").symlink_to(tmp_path / "nowhere")
    (source,) = listed(tmp_path)
    with pytest.raises(OSError, match="No such file"):
        read_source(source.uri, max_bytes=10)


def test_the_stamp_changes_with_the_content(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one")
    (before,) = listed(file)
    file.write_text("two")
    os.utime(file, ns=(0, 1))
    (after,) = listed(file)
    assert before.uri == after.uri
    assert before.stamp != after.stamp


def test_reading_stops_at_the_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 11)
    uri = (tmp_path / "a").as_uri()
    assert read_source(uri, max_bytes=11) == b"x" * 11
    with pytest.raises(SourceTooLarge, match="CLUSTER_MAX_DOCUMENT_BYTES"):
        read_source(uri, max_bytes=10)


@pytest.mark.parametrize("location", ["http://127.0.0.1/a.pdf", "ftp://host/a", "github://a/b"])
def test_an_http_address_is_refused(location: str) -> None:
    with pytest.raises(InvalidInput, match="cannot read"):
        listed(location)


def test_a_location_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        listed(tmp_path / "missing")


def test_other_storage_is_listed_the_same_way() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe({"/bucket/b/2.txt": b"2", "/bucket/a.txt": b"1", "/bucket/.hidden": b"3"})
    found = [(source.uri, source.size) for source in listed("memory://bucket")]
    assert found == [("memory:///bucket/a.txt", 1), ("memory:///bucket/b/2.txt", 1)]
    assert read_source(found[0][0], max_bytes=5) == b"1"


#: Names without a path separator that are not hidden.
LETTERS = st.integers(1, 255).filter(lambda byte: byte != ord("/"))
NAMES = st.lists(LETTERS, min_size=1, max_size=60).map(bytes).filter(lambda name: not name.startswith(b"."))


@given(name=NAMES)
@example(name=b"caf\xe9.txt")
@example(name="Screenshot 9.41.07\u202fAM.png".encode())
@example(name=b"\r\n\t\x1b[31m.md")
@example(name=b"100%25#a?b=c;d.txt")
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_of_any_name_is_listed_and_read(tmp_path_factory: pytest.TempPathFactory, name: bytes) -> None:
    """A name need not be UTF-8: archives from other systems contain such names."""
    folder = tmp_path_factory.mktemp("any")
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(name)
    (source,) = listed(folder)
    assert source.uri.isascii()
    assert read_source(source.uri, max_bytes=100) == name
    assert is_text(file_name(source.uri))
    assert not set(file_name(source.uri)) & {chr(code) for code in (*range(32), 127)}


def test_a_name_that_is_not_utf_8_is_shown_with_a_mark_for_each_byte(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 \x07.txt")).write_text("x")
    assert file_name(listed(tmp_path)[0].uri) == "caf\ufffd \ufffd.txt"


@pytest.mark.parametrize(
    "key", ["a::b.txt", "a*[b]?.txt", "a#b.txt", "a%20b.txt", "a b\u202fc.txt", "deep/a//b.txt"]
)
def test_a_key_of_a_bucket_is_neither_a_pattern_nor_an_address(key: str) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe({f"/keys/{key}": key.encode(), "/keys/ab.txt": b"another"})
    try:
        found = {source.uri: read_source(source.uri, max_bytes=100) for source in listed("memory://keys")}
        assert found == {f"memory:///keys/{key}": key.encode(), "memory:///keys/ab.txt": b"another"}
        assert file_name(f"memory:///keys/{key}") == key.rpartition("/")[2]
    finally:
        memory.rm("/keys", recursive=True)


def test_a_key_that_the_database_cannot_hold_is_reported_and_the_others_are_listed() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe({"/odd/a\0b.txt": b"1", "/odd/c.txt": b"2"})
    reported: list[tuple[str, str]] = []
    try:
        assert [
            source.uri
            for source in list_sources("memory://odd", on_left_out=lambda *what: reported.append(what))
        ] == ["memory:///odd/c.txt"]
    finally:
        memory.rm("/odd", recursive=True)
    assert [("x00b.txt" in what, "NUL" in why) for what, why in reported] == [(True, True)]
