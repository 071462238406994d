"""The parsing process, which imports the parsers once and forks a child with limits for each document.

    python -m data_jobs.stages.parsing.fork_server FD PDF_PARSER

``parser.Parser`` starts this process with one end of a socket pair. A request is JSON with two open files:
the document's bytes, and an empty file for the result. The bytes may be hostile. Therefore only the child
reads the bytes, and the result is JSON or, for a container, the frames of ``entry_frames``, but never a
pickle. The answer is a line of JSON that says how the child ended.
"""

import ctypes
import json
import mmap
import os
import resource
import select
import signal
import socket
import sys
import time
from dataclasses import asdict
from functools import cache, partial
from importlib import import_module
from typing import Any, BinaryIO

from cluster.formats import FORMATS, PDF, READABLE, Format, readable, recognise
from cluster.records import Outcome
from data_jobs.stages.containers.contract import EntryLimits
from data_jobs.stages.containers.entry_frames import write_end, write_entry
from data_jobs.stages.containers.unpacking import readers, unpack
from data_jobs.stages.formats import charset
from data_jobs.stages.formats.contract import (
    OcrRequest,
    ParseFunction,
    ParseOptions,
    ParserOutput,
    Unreadable,
)
from data_jobs.stages.parsing.child_contract import EXIT_MEMORY, EXIT_OK, READY
from data_jobs.stages.parsing.fetched_readers import FETCHED_READERS
from data_jobs.stages.parsing.out_of_memory import (
    NEAR_LIMIT_SHARE,
    OUT_OF_MEMORY,
    address_space,
    is_out_of_memory,
)
from data_jobs.stages.parsing.unread_parts import unread_sentence

MAX_REQUEST_BYTES = 65_536
#: Maximum number of bytes read from a child's standard error.
MAX_STDERR_BYTES = 64 * 1024
#: Seconds before the first check of a child's memory, and between later checks. Most children end before the
#: first check.
FIRST_CHECK_S, CHECK_INTERVAL_S = 0.2, 0.05
#: Exit codes of a process that crashed. A process can crash because it does not check whether an allocation
#: has failed.
CRASHES = frozenset({-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGILL, -signal.SIGTRAP})
PR_SET_PDEATHSIG = 1


def main(connection: socket.socket, pdf_parser: str) -> None:
    """Serve requests until the other end of the connection closes.

    Args:
        connection: one end of a socket pair.
        pdf_parser: the library that reads PDF; see the setting ``pdf_parser``.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ignore Ctrl-C, because the parent handles Ctrl-C
    for media_type in parser_modules(pdf_parser).keys() - {PDF.media_type}:
        parser_of(media_type, pdf_parser)
    readers()
    charset.load()
    connection.sendall(READY)
    while True:
        message, files, _, _ = socket.recv_fds(connection, MAX_REQUEST_BYTES, 2)
        if not message:
            return
        document, result = files
        request = json.loads(message)
        if request["pdf"]:
            parser_of(PDF.media_type, pdf_parser)
        answer = _in_child(request, document, result, connection)
        os.close(document)
        os.close(result)
        try:
            connection.sendall(json.dumps(answer).encode() + b"\n")
        except BrokenPipeError:
            return


@cache
def parser_modules(pdf_parser: str) -> dict[str, str]:
    """Return the module of each parser by media type, and the module of each refuser."""
    found = {row.media_type: row.parser for row in readable(pdf_parser)}
    found |= {row.media_type: row.refuser for row in FORMATS if row.refuser}
    return {media_type: module for media_type, module in found.items() if module}


def parser_of(media_type: str, pdf_parser: str) -> ParseFunction:
    """Return the parser or the refuser of a media type. The first call imports it.

    ``main`` makes the first call, so no child has to import a parser. The library for PDF takes half of the
    time and the memory of all imports, so ``main`` imports it only for the first PDF.
    """
    parse: ParseFunction = import_module(parser_modules(pdf_parser)[media_type]).parse
    return parse


def parse(data: bytes, *, name: str, max_characters: int, options: ParseOptions) -> dict[str, Any]:
    """Parse a document, and return the content as JSON values.

    The keys are outcome, detail, media_type, pages, structure, page_count, facts and unread.

    Args:
        data: the file.
        name: the file name.
        max_characters: maximum number of characters of text of a document.
        options: see ``ParseOptions``.
    """
    format = recognise(data, name=name)
    try:
        output = _read(data, format, options)
        characters = sum(map(len, output.pages))
        if characters > max_characters:
            limit = f"the limit is {max_characters:,} (CLUSTER_MAX_DOCUMENT_CHARACTERS)"
            raise Unreadable(Outcome.TOO_LARGE, f"holds {characters:,} characters of text; {limit}")
    except Unreadable as exc:
        return {
            "outcome": exc.outcome,
            "detail": exc.detail,
            "media_type": format.media_type,
            "pages": [],
            "structure": [],
            "page_count": 0,
            "facts": {},
            "unread": [],
        }
    return {
        "outcome": Outcome.PARTIAL_TEXT if output.unread else Outcome.OK,
        "detail": "",
        "media_type": format.media_type,
        "pages": output.pages,
        "structure": [asdict(structure) for structure in output.structure],
        "page_count": len(output.pages) if output.page_count is None else output.page_count,
        "facts": output.facts,
        "unread": list(output.unread.items()),
    }


def unpack_into(file: BinaryIO, data: bytes, name: str, limits: EntryLimits) -> None:
    """Write the entries of a container to the file, and after them how reading the container ended. A
    container that is refused has no entries in the file.
    """
    outcome, detail = Outcome.OK, ""
    try:
        unpack(data, name=name, limits=limits, write=partial(write_entry, file))
    except Unreadable as exc:
        outcome, detail = exc.outcome, exc.detail
        file.seek(0)
        file.truncate()
    write_end(file, outcome, detail)


def _read(data: bytes, format: Format, options: ParseOptions) -> ParserOutput:
    if not data:
        raise Unreadable(Outcome.EMPTY, "is a file of zero bytes")
    if format.parser is None and format.refuser is None:
        *names, last = [row.name for row in READABLE]
        readable = f"{', '.join(names)} and {last}"
        raise Unreadable(Outcome.UNSUPPORTED, f"is {format.media_type}; what can be read is {readable}")
    output = parser_of(format.media_type, options.pdf_parser)(data, options)
    # The parser of a format that is parsed in parts reports itself why a document has no text.
    if not format.parsed_in_parts and not any(page.strip() for page in output.pages):
        if output.unread:
            raise Unreadable(Outcome.CORRUPT, unread_sentence(output.unread, len(output.pages)))
        raise Unreadable(Outcome.EMPTY, "holds no text")
    return output


def _in_child(
    request: dict[str, Any], document: int, result: int, connection: socket.socket
) -> dict[str, Any]:
    alive, child_end = os.pipe()  # the pipe closes when the child ends, for any reason
    stderr = os.memfd_create("standard error", os.MFD_CLOEXEC)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(alive)
        os.dup2(stderr, 2)
        _child(request, document, result, parent)
    os.close(child_end)
    ended, largest = _watch(child, alive, connection, request["timeout_s"])
    if not ended:
        os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    os.close(alive)
    code = os.waitstatus_to_exitcode(status)
    error_text = _forward_stderr(stderr)
    if code in CRASHES or code == 1:
        peak, resident = address_space()  # of this process, because the child inherited its memory
        largest = max(largest, peak - resident + usage.ru_maxrss * 1024)
        if largest >= NEAR_LIMIT_SHARE * request["memory_bytes"] or OUT_OF_MEMORY.search(error_text):
            code = EXIT_MEMORY
    return {"timed_out": not ended, "exit": code}


def _watch(child: int, alive: int, connection: socket.socket, timeout_s: float) -> tuple[bool, int]:
    """Wait until the child ends, the caller disconnects or the time is over.

    Return True if the child ended, and the largest address space that the child had, in bytes.
    """
    deadline, largest, pause_s = time.monotonic() + timeout_s, 0, FIRST_CHECK_S
    while True:
        # The caller sends nothing before the answer, so a readable connection means that the caller has
        # disconnected.
        remaining_s = max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([alive, connection.fileno()], [], [], min(pause_s, remaining_s))
        if ready or remaining_s <= 0:
            return alive in ready, largest
        largest = max(largest, address_space(child)[0])
        pause_s = CHECK_INTERVAL_S


def _forward_stderr(stderr: int) -> str:
    """Copy the child's standard error to the standard error of this process, and return the text."""
    os.lseek(stderr, 0, os.SEEK_SET)
    with os.fdopen(stderr, "rb") as file:
        text = file.read(MAX_STDERR_BYTES).decode("utf-8", "replace")
    sys.stderr.write(text)
    return text


def _child(request: dict[str, Any], document: int, result: int, parent: int) -> None:
    """Parse the document, write the result and exit.

    Never returns, because none of the parent's code may run in the child.
    """
    code = 1
    try:
        _die_with(parent)
        _limit(request)
        size = os.fstat(document).st_size
        data = mmap.mmap(document, size, prot=mmap.PROT_READ)[:] if size else b""
        with os.fdopen(result, "wb", closefd=False) as file:
            if request["entries"] is None:
                file.write(json.dumps(_parsed(data, request)).encode())
            else:
                unpack_into(file, data, request["name"], EntryLimits(**request["entries"]))
        code = EXIT_OK
    except BaseException as exc:  # noqa: BLE001  every error is reported on standard error
        code = EXIT_MEMORY if is_out_of_memory(exc) else 1
        os.write(2, f"parse child: {type(exc).__name__}: {exc}\n".encode("utf-8", "replace"))
    finally:
        os._exit(code)


def _parsed(data: bytes, request: dict[str, Any]) -> dict[str, Any]:
    if request["fetched"] is not None:
        return FETCHED_READERS[request["fetched"]](data, **request["arguments"])
    options = ParseOptions(
        max_pages=request["max_pages"],
        name=request["name"],
        part=request["part"],
        pdf_parser=request["pdf_parser"],
        ocr=OcrRequest(**request["ocr"]) if request["ocr"] else None,
    )
    return parse(data, name=request["name"], max_characters=request["max_characters"], options=options)


def _limit(request: dict[str, Any]) -> None:
    cpu_s = int(request["timeout_s"]) + 1
    for limited, most in (
        (resource.RLIMIT_AS, request["memory_bytes"]),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, request["result_bytes"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(limited, (most, most))


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent has ended already
        os._exit(1)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
