"""A run with ``--provider-batch`` does not unpack, and lets a later run without the option unpack."""

from email.message import EmailMessage
from typing import Any

import pytest
from psycopg import Connection

from cluster.documents.vector_stores.stores import VectorStore, ensure_store
from cluster.engines import Registry, describe
from cluster.records import Outcome
from cluster.settings import Settings
from data_jobs.stages.document_row import DocumentRow, new_row
from data_jobs.stages.unpack import Unpack
from tests.data_jobs.stages.containers.archives import zipped


@pytest.fixture
def store(settings: Settings, connection: Connection[Any], organisation: str) -> VectorStore:
    return ensure_store(connection, organisation, "mails", fingerprint=describe(Registry(settings).default))


def whole(settings: Settings, store: VectorStore, name: str, content: bytes) -> DocumentRow:
    """The only row of the container after the stage."""
    row = new_row("doc_1", f"file:///tmp/{name}", "stamp")
    row["content"], row["content_hash"] = content, "aa"
    (found,) = Unpack(settings, store, pipeline_version="1", whole=True)(row)
    return found


def test_a_container_is_not_unpacked_and_is_read_again_by_a_run_without_the_option(
    settings: Settings, store: VectorStore
) -> None:
    archive = whole(settings, store, "a.zip", zipped({"a.txt": "A text.\n"}))
    assert (archive["outcome"], archive["stamp"], archive["content_hash"]) == (Outcome.UNSUPPORTED, "", "")
    assert "run the same command without --provider-batch" in archive["detail"]
    message = EmailMessage()
    message["Subject"], message["Message-ID"] = "Gaskets", "<1@example.com>"
    message.set_content("The gaskets are in cabinet nine.\n")
    message.add_attachment("The list of gaskets.\n", filename="list.txt")
    mail = whole(settings, store, "a.eml", bytes(message))
    assert (mail["outcome"], mail["stamp"], mail["content_hash"]) == (Outcome.OK, "", "aa")
