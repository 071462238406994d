"""A blob is read as it was written, or the read fails; an unfinished blob does not exist."""

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
from tests.waiting import LONGEST_WAIT_S

CONTENT = bytes(range(256)) * 9_000  # more than a block of reading


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlobStore]:
    """A store in a folder, and one in memory that has no folders, links and syncs, as a bucket has none."""
    url = (
        str(tmp_path / "a folder" / "blobs") if request.param == "folder" else f"memory://{uuid4().hex}/blobs"
    )
    return open_blob_store(Settings(home=tmp_path, blob_url=url))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the default store under ``tmp_path``."""
    return tmp_path / "blobs"


def put(store: BlobStore, content: bytes, organisation: str = "default") -> str:
    """Write a blob in two pieces; returns its hash."""
    with store.writer(organisation) as writer:
        writer.write(content[:100])
        writer.write(memoryview(content)[100:])
        blob = writer.commit()
    assert blob.bytes == len(content)
    return blob.sha256


def names(store: BlobStore) -> list[tuple[str, str, int]]:
    """The blobs that the store lists."""
    return sorted((blob.organisation, blob.sha256, blob.bytes) for blob in store.list())


@pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=["empty", "one byte", "long"])
def test_a_blob_is_read_as_it_was_written(store: BlobStore, content: bytes) -> None:
    name = put(store, content)
    assert name == sha256(content).hexdigest()
    assert store.read("default", name) == content
    with store.open("default", name) as file:
        assert b"".join(iter(lambda: file.read(70_000), b"")) == content
    assert store.exists("default", name)


def test_a_content_is_stored_once_per_organisation_and_never_shared(
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


def test_a_writer_without_commit_stores_nothing(store: BlobStore) -> None:
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


def test_the_unfinished_blob_of_a_dead_writer_is_removed_once_it_is_old(store: BlobStore) -> None:
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


def test_the_error_about_a_missing_blob_names_it(store: BlobStore) -> None:
    with pytest.raises(Permanent, match="is gone") as caught:
        store.read("default", "0" * 64)
    assert caught.value.row_ids == ("0" * 64,)


@pytest.mark.parametrize("organisation", ["..", "a/b", "", "a" * 65])
def test_no_name_leads_out_of_the_folder_of_the_store(store: BlobStore, organisation: str) -> None:
    with pytest.raises(InvalidInput):
        store.writer(organisation)
    with pytest.raises(InvalidInput):
        store.open("default", f"../{'0' * 61}")


@pytest.mark.parametrize("change", ["flipped", "shorter", "longer", "emptied"])
def test_a_damaged_blob_is_never_read_to_its_end(tmp_path: Path, folder: Path, change: str) -> None:
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


def test_writers_of_the_same_content_all_succeed_at_once(tmp_path: Path) -> None:
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
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))  # as on a full disk, writes fail
try:
    with store.writer("default") as writer:
        for _ in range(20):
            writer.write(b"x" * 100_000)
        writer.commit()
except Unavailable as exc:
    print(exc.retry_after_s, exc)
print(list(store.list()), store.discard_unfinished(older_than_s=-1))
"""


def test_a_full_disk_is_an_error_to_retry_and_leaves_no_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITE],
        env={**os.environ, "CLUSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=LONGEST_WAIT_S,
    )
    first, second = done.stdout.splitlines()
    assert re.match(r"30\.0 the blob store is full", first), done.stderr
    assert second == "[] 0"


def test_a_store_whose_folder_cannot_be_created_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file where a folder should be")
    with pytest.raises(Unavailable, match="does not answer"):
        open_blob_store(Settings(home=tmp_path)).writer("default")


@pytest.mark.parametrize("url", ["nonsense://bucket", "gs://bucket"])
def test_a_storage_that_is_not_installed_is_refused_when_the_store_is_opened(
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


def test_a_committed_blob_and_its_name_are_on_the_disk(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRACE],
        env={**os.environ, "CLUSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=LONGEST_WAIT_S,
    )
    order = done.stdout.split()
    assert order[0] == "fsync", done.stderr
    assert order[-2:] == ["replace", "folder"]


def test_other_users_of_the_machine_cannot_read_the_blobs(tmp_path: Path, folder: Path) -> None:
    put(open_blob_store(Settings(home=tmp_path)), CONTENT)
    assert folder.stat().st_mode & 0o077 == 0


def test_the_memory_does_not_grow_with_the_blob(tmp_path: Path) -> None:
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
