"""Stores the contents that agents are to know: files of this machine, texts, and shortcuts to URLs.

The bytes of new files go into the blob store before any row names them. So a killed import leaves at most
blobs without rows, which ``cluster.doctor`` finds.

    contents = Contents(open_blob_store(settings), "acme", open_file=None, max_bytes=1 << 20)
    content = contents.of_text(AgentKnowledge(text="The pump is red."))
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from cluster.agents.definition import AgentKnowledge
from cluster.blobs import Blob, BlobStore
from cluster.documents.file_names import shown_name
from cluster.documents.linked_files import INTERNET_SHORTCUT, name_of, shortcut_of
from cluster.errors import InvalidInput
from cluster.file_beginning import SNIFFED_BYTES
from cluster.formats import DOCUMENT_PURPOSES, INGESTIBLE, recognise

COPY_BYTES = 1024 * 1024
#: Purpose of the files that are made for agents.
PURPOSE = DOCUMENT_PURPOSES[0]
#: Name of the file of a text, if the knowledge gives the text no name.
TEXT_NAME = "text.txt"
#: A function that opens a file of this machine. Only the command ``create_agents`` passes such a function.
OpenFile = Callable[[str], BinaryIO]


@dataclass(frozen=True, kw_only=True, slots=True)
class NewContent:
    """A content whose blob is stored, and from which a file is to be made."""

    blob: Blob
    filename: str
    media_type: str


class Contents:
    """Stores the blobs of new contents, each content once.

    Args:
        blobs: the blob store.
        organisation: id of the organisation.
        open_file: opens a path; None: paths are refused.
        max_bytes: maximum size of a file of this machine. The size of texts is not checked.
    """

    def __init__(
        self, blobs: BlobStore, organisation: str, *, open_file: OpenFile | None, max_bytes: int
    ) -> None:
        self._blobs, self._organisation = blobs, organisation
        self._open_file, self._max_bytes = open_file, max_bytes
        self._of_paths: dict[str, NewContent] = {}
        self._of_texts: dict[tuple[str, bytes], NewContent] = {}

    def check(self, path: str) -> None:
        """Check that the file can become knowledge.

        Raises:
            InvalidInput: paths are refused, or the file cannot be read, is too large, or has a format from
                which no text is read.
        """
        with self._opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > self._max_bytes:
                raise InvalidInput(f"the file has {size:,} bytes; the limit is {self._max_bytes:,}")
            _media_type(file.read(SNIFFED_BYTES), path)

    def of_file(self, path: str) -> NewContent:
        """Store the blob of a file of this machine, and return the new content.

        Raises:
            InvalidInput: for the same reasons as in ``check``.
        """
        if path in self._of_paths:
            return self._of_paths[path]
        self.check(path)
        with self._opened(path) as file:
            start = file.read(SNIFFED_BYTES)
            file.seek(0)
            blob = self._stored(file)
        content = NewContent(
            blob=blob, filename=shown_name(Path(path).name), media_type=_media_type(start, path)
        )
        self._of_paths[path] = content
        return content

    def of_text(self, knowledge: AgentKnowledge) -> NewContent:
        """Store the blob of the text, and return the new content."""
        assert knowledge.text is not None
        name = shown_name(knowledge.name or TEXT_NAME)
        data = knowledge.text.encode()
        key = name, sha256(data).digest()
        if key not in self._of_texts:
            blob = self._stored(BytesIO(data))
            media_type = _text_type(data, name)
            self._of_texts[key] = NewContent(blob=blob, filename=name, media_type=media_type)
        return self._of_texts[key]

    def of_url(self, url: str) -> NewContent:
        """Store the blob of a file that names the URL (``linked_files``), and return the new content."""
        return NewContent(
            blob=self._stored(BytesIO(shortcut_of(url))), filename=name_of(url), media_type=INTERNET_SHORTCUT
        )

    def _stored(self, file: BinaryIO) -> Blob:
        """Return the blob of the file. Store it unless the organisation has a blob with the same bytes."""
        digest, size = sha256(), 0
        while part := file.read(COPY_BYTES):
            digest.update(part)
            size += len(part)
        if self._blobs.exists(self._organisation, digest.hexdigest()):
            return Blob(sha256=digest.hexdigest(), bytes=size)
        file.seek(0)
        with self._blobs.writer(self._organisation) as writer:
            while part := file.read(COPY_BYTES):
                writer.write(part)
            return writer.commit()

    def _opened(self, path: str) -> BinaryIO:
        if self._open_file is None:
            raise InvalidInput(
                "only the command create_agents reads paths; upload the file, and give its file_id"
            )
        try:
            return self._open_file(path)
        except OSError as exc:
            raise InvalidInput(f"the file {path!r} cannot be read: {exc.strerror or exc}") from exc


def _media_type(start: bytes, path: str) -> str:
    found = recognise(start, name=path, purpose=PURPOSE)
    if found not in INGESTIBLE:
        formats = ", ".join(row.name for row in INGESTIBLE)
        raise InvalidInput(f"the file {path!r} is {found.media_type}; knowledge is read from {formats}")
    return found.media_type


def _text_type(data: bytes, name: str) -> str:
    found = recognise(data[:SNIFFED_BYTES], name=name, purpose=PURPOSE)
    return found.media_type if found in INGESTIBLE else "text/plain"
