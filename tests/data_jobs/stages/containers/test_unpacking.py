"""Containers give the same flat list of documents, whatever their format is, and keep to their limits."""

import gzip
import random
import stat
import tarfile
import zipfile
from dataclasses import replace
from email.message import EmailMessage
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.records import Outcome
from cluster.settings import Settings
from data_jobs.stages.containers.contract import EntryLimits
from data_jobs.stages.containers.entry_frames import BadFrames, UnpackedEntry, read_entries
from data_jobs.stages.containers.entry_paths import entry_path
from data_jobs.stages.containers.unpacking import unpack
from data_jobs.stages.formats.contract import Unreadable
from data_jobs.stages.parsing.parser import Parser
from tests.data_jobs.stages.containers.archives import COMPRESSED, tarred, zipped

LIMITS = EntryLimits(entries=100, bytes=50_000_000, entry_bytes=20_000_000, ratio=200, depth=3)
MAILBOXES = Path(__file__).parents[1] / "formats/mail/documents/mailboxes"
FILES = {"docs/pump.md": "# The pump\n", "docs/ä.txt": "Grüße\n"}


def unpacked(data: bytes, name: str, **limits: int) -> list[UnpackedEntry]:
    found: list[UnpackedEntry] = []
    unpack(data, name=name, limits=replace(LIMITS, **limits), write=found.append)
    return found


def outcomes(found: list[UnpackedEntry]) -> dict[str, str]:
    return {entry.path: entry.outcome for entry in found}


@pytest.mark.parametrize("suffix", COMPRESSED, ids=lambda suffix: f"tar{suffix}")
def test_a_tar_archive_gives_the_same_entries_as_a_zip_archive(suffix: str) -> None:
    archive = COMPRESSED[suffix](tarred(FILES))
    assert unpacked(archive, f"a.tar{suffix}") == unpacked(zipped(FILES), "a.zip")


def test_a_compressed_file_that_is_no_archive_is_one_entry() -> None:
    (entry,) = unpacked(gzip.compress(b"x,y\n1,2\n"), "table.csv.gz")
    assert (entry.path, entry.media_type, entry.data) == ("table.csv", "text/csv", b"x,y\n1,2\n")


def test_archives_inside_archives_are_unpacked_up_to_the_limit() -> None:
    inner = zipped({"c.txt": "deep"})
    outer = zipped({"b.tar.gz": gzip.compress(tarred({"a.zip": inner})), "top.txt": "top"})
    deep = "b.tar.gz!/a.zip!/c.txt"
    assert outcomes(unpacked(outer, "o.zip", depth=4)) == {deep: "ok", "top.txt": "ok"}
    assert outcomes(unpacked(outer, "o.zip", depth=2)) == {"b.tar.gz!/a.zip": "too_large", "top.txt": "ok"}


def test_links_devices_passwords_and_unreadable_formats_are_left_out_with_the_reason() -> None:
    link, device = tarfile.TarInfo("link"), tarfile.TarInfo("device")
    link.type, link.linkname, device.type = tarfile.SYMTYPE, "/etc/passwd", tarfile.CHRTYPE
    assert outcomes(unpacked(tarred({"a.txt": "a", "b.bin": b"\0\1\2" * 99}, link, device), "a.tar")) == {
        "a.txt": "ok",
        "b.bin": "unsupported",
        "link": "unsupported",
        "device": "unsupported",
    }
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
        archive.writestr("secret.txt", "x")
    data = bytearray(file.getvalue())
    for mark, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        data[data.rindex(mark) + offset] |= 1  # the flag of an encrypted entry
    assert outcomes(unpacked(bytes(data), "a.zip")) == {"link": "unsupported", "secret.txt": "encrypted"}


@pytest.mark.parametrize("path", ["../a.txt", "a/../../b.txt", "..\\a.txt", "/", "C:/../x", ""])
def test_a_path_that_leaves_the_archive_is_left_out(path: str) -> None:
    archive = tarred({path or "x": "x"}) if path else zipped({"./": b"", "..": "x"})
    assert {entry.outcome for entry in unpacked(archive, "a")} <= {Outcome.UNSUPPORTED}


@given(st.text(max_size=40))
def test_a_path_never_leads_out_of_the_archive_and_is_safe_to_show(path: str) -> None:
    made = entry_path(path)
    if made is not None:
        assert not made.startswith("/")
        assert ".." not in made.split("/")
        assert not any(ord(character) < 32 for character in made)
        assert entry_path(made) == made


def test_entries_with_one_path_stay_apart() -> None:
    found = unpacked(tarred({"a.txt": "one", "./a.txt": "two", "a.txt/": "three"}), "a.tar")
    assert [entry.path for entry in found] == ["a.txt", "a (2).txt", "a (3).txt"]


BOMBS: dict[str, tuple[bytes, dict[str, int], str]] = {
    "entries": (zipped({f"{n}.txt": "x" for n in range(101)}), {}, "ENTRIES"),
    "bytes": (tarred({"a.txt": bytes(1_000), "b.txt": bytes(1_000)}), {"bytes": 9_000}, "BYTES"),
    "ratio of a ZIP": (zipped({"a.txt": bytes(19_000_000)}), {}, "RATIO"),
    "ratio of gzip": (gzip.compress(tarred({"a.txt": bytes(19_000_000)})), {}, "RATIO"),
    "ratio of a skipped entry": (
        gzip.compress(tarred({"a.txt": bytes(30_000_000)})),
        {"entry_bytes": 9},
        "RATIO",
    ),
    "ratio of inner archives": (
        zipped({f"{n}.zip": zipped({"a.txt": bytes(9_000_000)}) for n in range(3)}),
        {},
        "RATIO",
    ),
}


@pytest.mark.parametrize(("data", "limits", "setting"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_as_a_whole_and_names_the_limit(
    data: bytes, limits: dict[str, int], setting: str
) -> None:
    with pytest.raises(Unreadable, match=f"CLUSTER_MAX_CONTAINER_{setting}") as refused:
        unpacked(data, "bomb", **limits)
    assert refused.value.outcome is Outcome.TOO_LARGE


@cache
def mail() -> bytes:
    message = EmailMessage()
    message["Subject"], message["From"] = "Gaskets", "Ann <ann@example.com>"
    message["Message-ID"], message["Date"] = "<1@example.com>", "Mon, 05 Jan 2026 10:00:00 +0100"
    message.set_content("The gaskets are in cabinet nine.\n")
    message.add_attachment("a,b\n1,2\n", subtype="csv", filename="list.csv")
    message.add_attachment(b"\0\1\2" * 99, maintype="application", subtype="x", filename="data.bin")
    forwarded = EmailMessage()
    forwarded["Subject"], forwarded["Message-ID"] = "Re: a/b", "<2@example.com>"
    forwarded.set_content("The forwarded text.\n")
    message.add_attachment(forwarded)
    return bytes(message)


def test_attachments_and_forwarded_mails_are_entries_of_a_mail() -> None:
    found = unpacked(mail(), "gaskets.eml")
    assert outcomes(found) == {"list.csv": "ok", "data.bin": "unsupported", "Re: a-b.eml": "ok"}
    assert found[0].data == b"a,b\n1,2\n"
    assert b"The forwarded text." in found[2].data


def test_the_mails_of_a_mailbox_keep_their_names_when_one_is_added() -> None:
    plain = b"Subject: Lunch\nMessage-ID: <3@x>\n\nAt one.\n>From now on at two.\n"
    start = b"From ann@example.com Mon Jan  5 10:00:00 2026\n"
    first = unpacked(start + mail() + b"\n", "a.mbox")
    both = unpacked(start + plain + b"\n" + start + mail() + b"\n", "a.mbox")
    assert [entry.path for entry in first] == [entry.path for entry in both[1:]]
    assert first[0].path.startswith("2026-01-05 Gaskets ")
    assert [entry.path.partition("!/")[2] for entry in first] == ["", "list.csv", "data.bin", "Re: a-b.eml"]
    assert both[0].data.endswith(b"\nFrom now on at two.\n")


@pytest.mark.parametrize(
    ("name", "count"), [("four", 4), ("mboxcl2", 3), ("mboxcl3", 2), ("testmbox", 10), ("testmbox-dos", 10)]
)
def test_mailboxes_of_other_programs_have_the_mails_that_their_authors_count(name: str, count: int) -> None:
    found = unpacked((MAILBOXES / f"{name}.mbox").read_bytes(), f"{name}.mbox")
    assert len([entry for entry in found if "!/" not in entry.path]) == count


WHOLE = {
    "a.zip": zipped({**FILES, "inner.tar": tarred(FILES), "mail.eml": mail()}),
    "a.tar.gz": gzip.compress(tarred(FILES)),
    "a.tar.xz": COMPRESSED[".xz"](tarred(FILES)),
    "a.tar": tarred({**FILES, "mail.eml": mail()}),
    "a.eml": mail(),
    "a.mbox": b"From a Mon Jan  5 10:00:00 2026\n" + mail(),
}


@pytest.mark.parametrize("name", WHOLE)
@settings(max_examples=40)
@given(data=st.data())
def test_a_damaged_container_ends_in_an_outcome(name: str, data: st.DataObject) -> None:
    """Cut, change and repeat bytes; nothing but ``Unreadable`` may be raised."""
    whole = WHOLE[name]
    seed = data.draw(st.integers(0, 2**32))
    random_ = random.Random(seed)
    changed = bytearray(whole)
    for _ in range(random_.randint(1, 20)):
        changed[random_.randrange(len(changed))] = random_.randrange(256)
    cut = bytes(changed[: random_.randint(1, len(changed))]) if random_.random() < 0.5 else bytes(changed)
    try:
        found = unpacked(cut, name)
    except Unreadable:
        return
    assert all(entry.detail for entry in found if entry.outcome is not Outcome.OK)


def test_the_parse_process_unpacks_with_limits_and_its_result_is_checked(tmp_path: Path) -> None:
    with Parser(Settings(unpack_timeout_s=60)) as parser:
        for data, ending in ((zipped(FILES), "ok"), (BOMBS["entries"][0], "too_large")):
            with (tmp_path / "entries").open("w+b") as into:
                assert parser.unpack(data, name="a.zip", limits=LIMITS, into=into) is None
                *entries, end = read_entries(into, max_entry_bytes=LIMITS.entry_bytes)
                assert (len(entries), end.outcome) == (2 if ending == "ok" else 0, ending)
                written = into.seek(0) or into.read()
    for wrong in (
        b"",
        written[:-1],
        written + b"x",
        b"\xff" * 9,
        written.replace(b"too_large", b"too_lurge"),
    ):
        with (tmp_path / "wrong").open("w+b") as file:
            file.write(wrong)
            file.flush()
            with pytest.raises(BadFrames):
                list[Any](read_entries(file, max_entry_bytes=LIMITS.entry_bytes))
