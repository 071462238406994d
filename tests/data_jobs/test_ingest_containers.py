"""In a bulk ingest, the entries of archives and e-mails are documents of their own."""

from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.vector_stores import stores
from cluster.settings import Settings
from data_jobs.bulk.report import IngestReport
from data_jobs.ingest import ingest
from tests.data_jobs.stages.containers.archives import zipped

pytestmark = [pytest.mark.launch, pytest.mark.usefixtures("ray_cluster")]

ENTRIES = {f"chapter {n}.txt": f"Chapter {n} is about valve number {n}.\n" for n in range(12)}


def run(settings: Settings, location: Path) -> IngestReport:
    report = IngestReport()
    ingest(settings, str(location), "containers", report)
    return report


def attributes(settings: Settings, pool: ConnectionPool) -> dict[str, dict[str, Any]]:
    """The attributes of a chunk of each document, by the document's source."""
    with pool.connection() as connection:
        store = stores.find_store(connection, settings.organisation, "containers")
    index = open_chunk_index(settings, pool)
    rows = index.scan(store.organisation, store.id, collection=store.collection)
    return {row.attributes["source"]: dict(row.attributes) for row in rows}


def test_entries_are_documents_and_only_changed_entries_are_embedded_again(
    settings: Settings, pool: ConnectionPool, tmp_path: Path
) -> None:
    book, mail = tmp_path / "book.zip", tmp_path / "mail.eml"
    book.write_bytes(zipped({**ENTRIES, "data.bin": bytes([0, 1, 2]) * 99}))
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04" + bytes(99))
    (tmp_path / "plain.txt").write_text("A file that is no container.\n")
    message = EmailMessage()
    message["Subject"], message["Message-ID"] = "Gaskets", "<1@example.com>"
    message.set_content("The gaskets are in cabinet nine.\n")
    message.add_attachment("The list of gaskets.\n", filename="list of ä.txt")
    mail.write_bytes(bytes(message))

    first = run(settings, tmp_path)
    assert first.outcomes == {"ok": 15, "unsupported": 1, "corrupt": 1}
    assert [source.rpartition("/")[2] for source, *_ in sorted(first.failures)] == ["data.bin", "broken.zip"]
    found = attributes(settings, pool)
    assert set(found) == {
        *(f"{book.as_uri()}!/{name.replace(' ', '%20')}" for name in ENTRIES),
        mail.as_uri(),
        f"{mail.as_uri()}!/list%20of%20%C3%A4.txt",
        (tmp_path / "plain.txt").as_uri(),
    }
    attachment = found[f"{mail.as_uri()}!/list%20of%20%C3%A4.txt"]
    assert (attachment["container"], attachment["path"]) == ("mail.eml", "list of ä.txt")
    assert attachment["filename"] == "list of ä.txt"
    assert found[mail.as_uri()]["subject"] == "Gaskets"

    book.write_bytes(zipped({**ENTRIES, "chapter 7.txt": "Chapter 7 was written again.\n"}))
    second = run(settings, tmp_path)
    assert (second.totals["embedded"], second.totals["unchanged"]) == (1, 15)
    assert second.outcomes == {"ok": 15, "corrupt": 1}
