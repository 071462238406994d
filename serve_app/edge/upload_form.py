"""A form with a file, read while it arrives: the file's bytes go straight to the blob store, and never more than a piece is in memory.

Used by every route that takes a file. Nothing is kept before ``keep``: a form that is refused, cut off or too long leaves no blob.

    async with upload_form(request, service, organisation, FormRules(file="file", fields=frozenset({"purpose"}), ...)) as form:
        purpose = form.fields["purpose"]
        blob = await form.keep()
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException

from cluster.blobs import Blob, BlobWriter
from cluster.errors import InvalidInput
from cluster.file_beginning import SNIFFED_BYTES
from serve_app.edge.content_disposition import disposition, text
from serve_app.edge.json_route import JsonRequest, header_safe_name
from serve_app.service import Service

#: A hand-over to a thread costs as much as writing some tens of kilobytes.
PIECE_BYTES = 1024 * 1024
LONGEST_FIELD_BYTES = 8 * 1024
MOST_PARTS = 64
#: Of one part: 255 characters of four bytes each, percent-encoded, and the same name once more for older servers.
MOST_HEADER_BYTES = 16 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class FormRules:
    """What a form may hold."""

    #: Name of the part with the file.
    file: str
    #: Names of the others.
    fields: frozenset[str]
    #: Bytes of the file, and the setting that says so.
    most: int
    setting: str


@dataclass(slots=True)
class Part:
    """One part of the form, as far as it has arrived."""

    name: str
    filename: str | None
    #: Bytes of a field; a file's are passed on.
    data: bytearray = field(default_factory=bytearray)


class Form:
    """The form, whole; see the module's docstring."""

    def __init__(self, service: Service, organisation: str, rules: FormRules) -> None:
        self._service, self._organisation, self._rules = service, organisation, rules
        self._writer: BlobWriter | None = None
        self._seen = False
        self._piece = bytearray()
        self._others: dict[str, Part] = {}
        #: The other parts' texts by name.
        self.fields: dict[str, str] = {}
        #: Names of fields that were left out, as a header carries them.
        self.ignored: list[str] = []
        #: As the caller sent it.
        self.filename = ""
        #: Of the file.
        self.bytes = 0
        #: Its first bytes, by which it is recognised.
        self.start = b""

    async def keep(self) -> Blob:
        """Put the file's bytes in place, where a row may name them.

        Raises:
            Unavailable: the blob store is full or does not answer.
        """
        return await self._service.on_blobs(self._committed)

    async def read(self, request: Request) -> None:
        """Take the whole body in.

        Raises:
            InvalidInput: it is no form, or holds what it should not, or not what it should.
            HTTPException: 413, the file is too long; 415, it is something else than a form.
            Unavailable: the blob store is full or does not answer.
        """
        parser = _Parser(_boundary(request))
        async for chunk in request.stream():
            for part, data in parser.feed(chunk):
                await self._take(part, data)
        parser.finish()
        # At the end, since a character may arrive in two pieces.
        self.fields = {name: text(bytes(part.data)) for name, part in self._others.items()}
        if not self._seen:
            raise InvalidInput(f"the form holds no file {self._rules.file!r}", param=self._rules.file)
        if self.bytes == 0:
            raise InvalidInput("the file is empty", param=self._rules.file)

    async def discard(self) -> None:
        """Give up what was not kept."""
        if self._writer is not None:
            await self._service.on_blobs(self._writer.discard)

    async def _take(self, part: Part, data: bytes | None) -> None:
        if part.name == self._rules.file:
            await self._take_file(part, data)
        elif part.name not in self._rules.fields:
            self._leave_out(part, starts=data is None)
        elif data is None:
            if part.name in self._others:
                raise InvalidInput(f"the field {part.name!r} is there twice", param=part.name)
            self._others[part.name] = part
        else:
            part.data += data
            if len(part.data) > LONGEST_FIELD_BYTES:
                raise InvalidInput(
                    f"the field {part.name!r} is longer than {LONGEST_FIELD_BYTES:,} bytes", param=part.name
                )

    def _leave_out(self, part: Part, *, starts: bool) -> None:
        """An unknown field is named in the answer, or refused as the setting says; a file under another name always is."""
        if not starts:
            return
        if part.filename is not None or self._service.settings.unknown_fields == "error":
            raise InvalidInput(
                f"unknown field {part.name!r}; the file is {self._rules.file!r}, and beside it there may be: "
                f"{', '.join(sorted(self._rules.fields)) or 'nothing'}",
                param=part.name,
            )
        self.ignored.append(header_safe_name(part.name))

    async def _take_file(self, part: Part, data: bytes | None) -> None:
        if data is None:
            if self._seen:
                raise InvalidInput(
                    f"the form holds {part.name!r} twice; send one file at a time", param=part.name
                )
            if part.filename is None:
                raise InvalidInput(f"{part.name!r} must be a file: give its part a filename", param=part.name)
            self.filename, self._seen = part.filename, True
            return
        self.bytes += len(data)
        if self.bytes > self._rules.most:
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"{part.name!r} is over {self._rules.most:,} bytes ({self._rules.setting})",
            )
        if len(self.start) < SNIFFED_BYTES:
            self.start += data[: SNIFFED_BYTES - len(self.start)]
        self._piece += data
        if len(self._piece) >= PIECE_BYTES:
            await self._service.on_blobs(self._written)

    def _written(self) -> BlobWriter:
        """In a thread: what has arrived is handed to the blob store. A short file takes one hand-over altogether."""
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
) -> AsyncIterator[Form]:
    """The request's form, read to its end; what was not kept is gone afterwards. Raises as ``Form.read`` does."""
    form = Form(service, organisation, rules)
    try:
        await form.read(request)
        if isinstance(request, JsonRequest):
            request.ignored += form.ignored
        yield form
    finally:
        await form.discard()


class _Parser:
    """What arrives, as parts and their data; None for the data where a part begins."""

    def __init__(self, boundary: bytes) -> None:
        self._parts = 0
        self._ended = False
        self._found: list[tuple[Part, bytes | None]] = []
        self._header, self._headers = (bytearray(), bytearray()), dict[bytes, bytes]()
        self._part = Part("", None)
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
            max_header_size=MOST_HEADER_BYTES,
        )

    def feed(self, chunk: bytes) -> list[tuple[Part, bytes | None]]:
        self._found = []
        if chunk:
            try:
                self._parser.write(chunk)
            except FormParserError as exc:
                raise InvalidInput(f"the body is no form as multipart/form-data describes it: {exc}") from exc
        return self._found

    def finish(self) -> None:
        if not self._ended:
            raise InvalidInput("the form ends before its last boundary")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise InvalidInput(f"the form has more than {MOST_PARTS} parts")
        self._headers = {}

    def _header_end(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = bytearray(), bytearray()

    def _headers_finished(self) -> None:
        said = disposition(self._headers.get(b"content-disposition", b""))
        self._part = Part(said.name, said.filename)
        self._found.append((self._part, None))

    def _end(self) -> None:
        self._ended = True


def _boundary(request: Request) -> bytes:
    type, options = parse_options_header(request.headers.get("content-type"))
    if type != b"multipart/form-data":
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the file as multipart/form-data")
    if not 0 < len(options.get(b"boundary", b"")) <= 70:  # RFC 2046, section 5.1.1
        raise InvalidInput("content-type names no boundary, or one longer than 70 characters")
    return options[b"boundary"]
