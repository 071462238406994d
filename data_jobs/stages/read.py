"""Read the bytes of a document, and compare the hash of the bytes with the hash of the last attempt.

This is the first stage of ingest.
"""

from hashlib import sha256
from typing import cast

from cluster.formats import recognise
from cluster.records import Outcome
from cluster.settings import Settings
from data_jobs.sources import SourceTooLarge, file_name, read_source
from data_jobs.stages.document_row import DocumentRow
from data_jobs.stages.map_rows import failed


class Read:
    """Reads ``source``; needs ``known_hash``.

    Fills ``content``, ``content_hash``, ``size`` and ``unchanged``. An unchanged row has no content, except
    the row of a container, because the entries may need work (``Unpack``).
    """

    def __init__(self, settings: Settings) -> None:
        self.max_bytes = settings.max_document_bytes

    def __call__(self, row: DocumentRow) -> DocumentRow:
        try:
            content = read_source(row["source"], max_bytes=self.max_bytes)
        except SourceTooLarge as exc:
            return failed(row, Outcome.TOO_LARGE, str(exc))
        except OSError as exc:
            return failed(row, Outcome.UNREADABLE, f"could not be read: {exc.strerror or exc}")
        content_hash = sha256(content).hexdigest()
        unchanged = content_hash == row["known_hash"]
        if unchanged and recognise(content, name=file_name(row["source"])).entries is None:
            return {**row, "content_hash": content_hash, "size": len(content), "unchanged": True}
        read = {**row, "content_hash": content_hash, "size": len(content), "content": content}
        return cast(DocumentRow, {**read, "unchanged": unchanged})
