"""Reads a form with a file while the form arrives.

The file's bytes go to the blob store, and memory holds one piece at a time.

Every route that accepts a file uses this module. Bytes stay in the blob store only after ``keep``, so a form
that is refused, cut off or too long leaves no blob.

    async with upload_form(request, service, organisation, FormRules(file="file", ...)) as form:
        purpose = form.fields["purpose"]
        blob = await form.keep()
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException

from cluster.blobs import Blob, BlobWriter
from cluster.errors import InvalidInput
from cluster.file_beginning import SNIFFED_BYTES
from serve_app.edge.forms.content_disposition import decode_utf8, parse_disposition
from serve_app.edge.json_route import JsonRequest, header_safe_name
from serve_app.service import Service

#: Number of bytes that are collected before a thread writes them, because calling a thread costs as much as
#: writing tens of kilobytes.
PIECE_BYTES = 1024 * 1024
MAX_FIELD_BYTES = 8 * 1024
MAX_PARTS = 64
#: Maximum size of one part's headers. This is enough for a file name of 255 characters of four bytes each,
#: percent-encoded and sent twice, because some clients send the name in two notations.
MAX_HEADER_BYTES = 16 * 1024


def documented_form(properties: dict[str, Any], *, required: list[str]) -> dict[str, Any]:
    """Describe a form for the OpenAPI document. FastAPI cannot do this, because the route streams the form.

    Args:
        properties: JSON schema of each part, by its name.
        required: names of the parts that a request must have.
    """
    schema = {"type": "object", "required": required, "properties": properties}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


@dataclass(frozen=True, kw_only=True, slots=True)
class FormRules:
    """The parts that a form may have."""

    #: Name of the part with the file.
    file: str
    #: Names of the other parts.
    fields: frozenset[str]
    #: Maximum size of the file, in bytes.
    max_bytes: int
    #: Name of the setting behind ``max_bytes``, for error messages.
    setting: str


@dataclass(slots=True)
class FormPart:
    """One part of the form, as far as it has arrived."""

    name: str
    filename: str | None
    #: Bytes of a field. The bytes of a file are not kept here.
    data: bytearray = field(default_factory=bytearray)


class UploadForm:
    """A form whose file goes to the blob store while the form is read."""

    def __init__(self, service: Service, organisation: str, rules: FormRules) -> None:
        self._service, self._organisation, self._rules = service, organisation, rules
        self._writer: BlobWriter | None = None
        self._file_seen = False
        self._piece = bytearray()
        self._others: dict[str, FormPart] = {}
        #: Values of the other parts by field name.
        self.fields: dict[str, str] = {}
        #: Names of the ignored fields, encoded for a response header.
        self.ignored: list[str] = []
        #: Name of the file as the client sent it.
        self.filename = ""
        #: Number of bytes of the file that have arrived.
        self.bytes = 0
        #: First bytes of the file, from which its format is recognised.
        self.start = b""

    async def keep(self) -> Blob:
        """Commit the file's bytes to the blob store. After that, a database row may refer to these bytes.

        Raises:
            Unavailable: the blob store is full or does not answer.
        """
        return await self._service.on_blobs(self._committed)

    async def read(self, request: Request) -> None:
        """Read the whole body. Write the file to the blob store, and keep the other parts in ``fields``.

        Raises:
            InvalidInput: the body is not a valid form, has a part that is not allowed, or has no file or an
                empty file.
            HTTPException: 413, the file is too large; 415, the Content-Type is not multipart/form-data.
            Unavailable: the blob store is full or does not answer.
        """
        parser = _FormParser(_boundary(request))
        async for chunk in request.stream():
            for part, data in parser.feed(chunk):
                await self._add(part, data)
        parser.finish()
        # The fields are decoded at the end, because the bytes of a character may arrive in two pieces.
        self.fields = {name: decode_utf8(bytes(part.data)) for name, part in self._others.items()}
        if not self._file_seen:
            raise InvalidInput(
                f"the form has no file {self._rules.file!r}; send the file in a part of this name",
                param=self._rules.file,
            )
        if self.bytes == 0:
            raise InvalidInput(
                "the file is empty; send a file with at least one byte", param=self._rules.file
            )

    async def discard(self) -> None:
        """Delete the bytes that were written but not kept."""
        if self._writer is not None:
            await self._service.on_blobs(self._writer.discard)

    async def _add(self, part: FormPart, data: bytes | None) -> None:
        if part.name == self._rules.file:
            await self._add_to_file(part, data)
        elif part.name not in self._rules.fields:
            self._ignore(part, starts=data is None)
        elif data is None:
            if part.name in self._others:
                raise InvalidInput(
                    f"the form has the field {part.name!r} twice; send it once", param=part.name
                )
            self._others[part.name] = part
        else:
            part.data += data
            if len(part.data) > MAX_FIELD_BYTES:
                raise InvalidInput(
                    f"the field {part.name!r} is over {MAX_FIELD_BYTES:,} bytes; shorten it", param=part.name
                )

    def _ignore(self, part: FormPart, *, starts: bool) -> None:
        """Ignore an unknown field, or refuse it if the setting ``unknown_fields`` is ``error``.

        A file under an unknown name is always refused.
        """
        if not starts:
            return
        if part.filename is not None or self._service.settings.unknown_fields == "error":
            raise InvalidInput(
                f"unknown field {part.name!r}; this form has the file {self._rules.file!r} and the fields: "
                f"{', '.join(sorted(self._rules.fields)) or 'none'}",
                param=part.name,
            )
        self.ignored.append(header_safe_name(part.name))

    async def _add_to_file(self, part: FormPart, data: bytes | None) -> None:
        if data is None:
            if self._file_seen:
                raise InvalidInput(
                    f"the form has {part.name!r} twice; send one file in each request", param=part.name
                )
            if part.filename is None:
                raise InvalidInput(f"{part.name!r} must be a file; give its part a filename", param=part.name)
            self.filename, self._file_seen = part.filename, True
            return
        self.bytes += len(data)
        if self.bytes > self._rules.max_bytes:
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"{part.name!r} is over {self._rules.max_bytes:,} bytes ({self._rules.setting});"
                " send a smaller file",
            )
        if len(self.start) < SNIFFED_BYTES:
            self.start += data[: SNIFFED_BYTES - len(self.start)]
        self._piece += data
        if len(self._piece) >= PIECE_BYTES:
            await self._service.on_blobs(self._written)

    def _written(self) -> BlobWriter:
        """Write the collected bytes to the blob store. This runs in a thread.

        For a short file, this runs only once.
        """
        if self._writer is None:
            self._writer = self._service.blobs.writer(self._organisation)
        piece, self._piece = self._piece, bytearray()
        self._writer.write(piece)
        return self._writer

    def _committed(self) -> Blob:
        blob = self._written().commit()
        self._writer = None
        return blob


@asynccontextmanager
async def upload_form(
    request: Request, service: Service, organisation: str, rules: FormRules
) -> AsyncIterator[UploadForm]:
    """Read the request's whole form, and give it to the block.

    Bytes that the block did not keep are deleted afterwards.

    Raises:
        InvalidInput, HTTPException, Unavailable: as in ``UploadForm.read``.
    """
    form = UploadForm(service, organisation, rules)
    try:
        await form.read(request)
        if isinstance(request, JsonRequest):
            request.ignored += form.ignored
        yield form
    finally:
        await form.discard()


class _FormParser:
    """Splits the body into pairs of a part and a piece of its data. In the first pair of each part, the data
    is None.
    """

    def __init__(self, boundary: bytes) -> None:
        self._parts = 0
        self._ended = False
        self._found: list[tuple[FormPart, bytes | None]] = []
        self._header, self._headers = (bytearray(), bytearray()), dict[bytes, bytes]()
        self._part = FormPart("", None)
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": lambda data, start, end: self._found.append((self._part, data[start:end])),
                "on_end": self._end,
            },
            max_header_size=MAX_HEADER_BYTES,
        )

    def feed(self, chunk: bytes) -> list[tuple[FormPart, bytes | None]]:
        self._found = []
        if chunk:
            try:
                self._parser.write(chunk)
            except FormParserError as exc:
                raise InvalidInput(f"the body is not valid multipart/form-data: {exc}") from exc
        return self._found

    def finish(self) -> None:
        if not self._ended:
            raise InvalidInput("the form ends before its last boundary; send it whole")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise InvalidInput(f"the form has over {MAX_PARTS} parts; send fewer")
        self._headers = {}

    def _header_end(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = bytearray(), bytearray()

    def _headers_finished(self) -> None:
        names = parse_disposition(self._headers.get(b"content-disposition", b""))
        self._part = FormPart(names.name, names.filename)
        self._found.append((self._part, None))

    def _end(self) -> None:
        self._ended = True


def _boundary(request: Request) -> bytes:
    type, options = parse_options_header(request.headers.get("content-type"))
    if type != b"multipart/form-data":
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "this path reads a form; send the file as multipart/form-data"
        )
    if not 0 < len(options.get(b"boundary", b"")) <= 70:  # RFC 2046, section 5.1.1
        raise InvalidInput(
            "the header Content-Type has no boundary, or one over 70 characters; send a boundary of 1 to 70"
        )
    return options[b"boundary"]
