"""What was written is read again byte for byte, or the reader is told; what was not finished is not there."""

import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import pytest

from cluster.blobs import BlobStore, open_blob_store
from cluster.errors import InvalidInput, Misconfigured, Permanent, Unavailable
from cluster.settings import Settings

CONTENT = bytes(range(256)) * 9_000  # more than a block of reading


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlobStore]:
    """One in a folder, one as a bucket would be: without folders, links and syncs."""
    url = (
        str(tmp_path / "a folder" / "blobs") if request.param == "folder" else f"memory://{uuid4().hex}/blobs"
    )
    return open_blob_store(Settings(home=tmp_path, blob_url=url))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the default store of ``tmp_path`` keeps its blobs."""
    return tmp_path / "blobs"


def put(store: BlobStore, content: bytes, organisation: str = "default") -> str:
    """Written in two pieces; its hash."""
    with store.writer(organisation) as writer:
        writer.write(content[:100])
        writer.write(memoryview(content)[100:])
        blob = writer.commit()
    assert blob.bytes == len(content)
    return blob.sha256


def names(store: BlobStore) -> list[tuple[str, str, int]]:
    """What the store lists."""
    return sorted((one.organisation, one.sha256, one.bytes) for one in store.list())


@pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=["empty", "one byte", "long"])
def test_what_was_written_is_read_again(store: BlobStore, content: bytes) -> None:
    name = put(store, content)
    assert name == sha256(content).hexdigest()
    assert store.read("default", name) == content
    with store.open("default", name) as file:
        assert b"".join(iter(lambda: file.read(70_000), b"")) == content
    assert store.exists("default", name)


def test_the_same_content_is_kept_once_for_an_organisation_and_not_shared_with_others(
    store: BlobStore,
) -> None:
    name = put(store, CONTENT)
    assert put(store, CONTENT) == name
    assert names(store) == [("default", name, len(CONTENT))]
    assert not store.exists("other", name)
    put(store, CONTENT, "other")
    assert store.delete("other", name)
    assert not store.delete("other", name)
    assert store.read("default", name) == CONTENT


def test_a_writer_that_is_left_early_leaves_nothing(store: BlobStore) -> None:
    def fail() -> None:
        with store.writer("default") as writer:
            writer.write(CONTENT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with store.writer("default") as writer:
        writer.write(CONTENT)
    assert names(store) == []
    assert store.discard_unfinished(older_than_s=-1) == 0


def test_what_a_dead_writer_left_is_removed_once_it_is_old(store: BlobStore) -> None:
    name = put(store, CONTENT)
    writer = store.writer("default")
    writer.write(b"half")
    assert names(store) == [("default", name, len(CONTENT))]
    assert store.discard_unfinished(older_than_s=60) == 0
    assert store.discard_unfinished(older_than_s=-1) == 1
    assert store.read("default", name) == CONTENT


def test_an_empty_store_lists_nothing(store: BlobStore) -> None:
    assert names(store) == []
    assert store.discard_unfinished(older_than_s=0) == 0


def test_a_blob_that_is_gone_is_told_by_its_name(store: BlobStore) -> None:
    with pytest.raises(Permanent, match="is gone") as caught:
        store.read("default", "0" * 64)
    assert caught.value.row_ids == ("0" * 64,)


@pytest.mark.parametrize("organisation", ["..", "a/b", "", "a" * 65])
def test_no_name_leads_out_of_the_store(store: BlobStore, organisation: str) -> None:
    with pytest.raises(InvalidInput):
        store.writer(organisation)
    with pytest.raises(InvalidInput):
        store.open("default", f"../{'0' * 61}")


@pytest.mark.parametrize("change", ["flipped", "shorter", "longer", "emptied"])
def test_a_damaged_blob_is_never_handed_out_whole(tmp_path: Path, folder: Path, change: str) -> None:
    store = open_blob_store(Settings(home=tmp_path))
    name = put(store, CONTENT)
    file = folder / "default" / name[:2] / name
    damaged = {
        "flipped": CONTENT[:-1] + b"?",
        "shorter": CONTENT[:-9],
        "longer": CONTENT + b"?",
        "emptied": b"",
    }[change]
    file.write_bytes(damaged)
    with pytest.raises(Permanent, match="damaged"):
        store.read("default", name)
    got = bytearray()

    def copy() -> None:
        with store.open("default", name) as blob:
            while part := blob.read(100_000):
                got.extend(part)

    with pytest.raises(Permanent, match="damaged"):
        copy()
    assert len(got) < len(damaged) or not damaged


def test_many_who_write_the_same_at_once_all_succeed(tmp_path: Path) -> None:
    store = open_blob_store(Settings(home=tmp_path))
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(lambda _: put(store, CONTENT), range(32)))) == 1
    assert len(names(store)) == 1


WRITE = """
import resource, sys
from cluster.blobs import open_blob_store
from cluster.errors import Unavailable
from cluster.settings import Settings

store = open_blob_store(Settings())
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))  # as a disk that is full: the kernel refuses the write
try:
    with store.writer("default") as writer:
        for _ in range(20):
            writer.write(b"x" * 100_000)
        writer.commit()
except Unavailable as exc:
    print(exc.retry_after_s, exc)
print(list(store.list()), store.discard_unfinished(older_than_s=-1))
"""


def test_a_disk_that_is_full_is_a_matter_of_time_and_nothing_is_left_behind(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITE],
        env={**os.environ, "CLUSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    first, second = done.stdout.splitlines()
    assert re.match(r"30\.0 the blob store is full", first), done.stderr
    assert second == "[] 0"


def test_a_store_whose_folder_cannot_be_made_is_away(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file where a folder should be")
    with pytest.raises(Unavailable, match="does not answer"):
        open_blob_store(Settings(home=tmp_path)).writer("default")


@pytest.mark.parametrize("url", ["nonsense://bucket", "gs://bucket"])
def test_a_storage_that_is_not_installed_is_named_at_the_start(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(Misconfigured, match="CLUSTER_BLOB_URL"):
        open_blob_store(Settings(home=tmp_path, blob_url=url))


TRACE = """
import os
from cluster.blobs import open_blob_store
from cluster.settings import Settings

calls = []
for name in ("fsync", "replace"):
    def traced(*args, name=name, real=getattr(os, name)):
        calls.append("folder" if name == "fsync" and os.path.isdir(f"/proc/self/fd/{args[0]}") else name)
        return real(*args)
    setattr(os, name, traced)
with open_blob_store(Settings()).writer("default") as writer:
    writer.write(b"kept")
    calls.clear()
    writer.commit()
print(*calls)
"""


def test_bytes_reach_the_disk_before_their_name_and_the_name_before_commit_returns(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRACE],
        env={**os.environ, "CLUSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    order = done.stdout.split()
    assert order[0] == "fsync", done.stderr
    assert order[-2:] == ["replace", "folder"]


def test_nobody_else_on_the_machine_reads_the_blobs(tmp_path: Path, folder: Path) -> None:
    put(open_blob_store(Settings(home=tmp_path)), CONTENT)
    assert folder.stat().st_mode & 0o077 == 0


def test_memory_stays_small_however_long_the_file(tmp_path: Path) -> None:
    store = open_blob_store(Settings(home=tmp_path))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with store.writer("default") as writer:
        for _ in range(200):
            writer.write(bytes(1 << 20))
        blob = writer.commit()
    with store.open("default", blob.sha256) as file:
        while file.read(1 << 20):
            pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB
