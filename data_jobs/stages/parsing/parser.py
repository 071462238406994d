"""Parse each document in a separate process with limits, so a bad document cannot harm other documents.

with Parser(settings) as parser:
    parsed = parser.parse(data, name="report.pdf")
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

import structlog

from cluster.crawls.robots import nothing_permitted
from cluster.errors import Unavailable
from cluster.file_beginning import SNIFFED_BYTES, FileBeginning
from cluster.records import Outcome, ParsedDocument
from cluster.settings import Settings
from data_jobs.stages.containers.contract import EntryLimits
from data_jobs.stages.containers.entry_frames import MAX_HEADER_BYTES
from data_jobs.stages.formats.contract import OcrRequest
from data_jobs.stages.formats.web.sitemaps import FoundInSitemap
from data_jobs.stages.formats.web.web_page import WebPage
from data_jobs.stages.parsing.child_contract import EXIT_MEMORY, EXIT_OK, MAX_RESULT_BYTES, READY
from data_jobs.stages.parsing.fetched_results import (
    read_robots_result,
    read_sitemap_result,
    read_web_page_result,
)
from data_jobs.stages.parsing.memory_file import MemoryFile
from data_jobs.stages.parsing.parser_version import parser_version
from data_jobs.stages.parsing.read_result import read_result, without_pages

T = TypeVar("T")

log = structlog.get_logger(__name__)

#: Seconds to wait for the answer after the document's time limit; after that, the parsing process counts as
#: lost.
ANSWER_GRACE_S = 10.0
#: Seconds that the parsing process may take to import the parsers. On an idle machine it takes about one.
START_TIMEOUT_S = 120.0


class Parser:
    """Parses one document at a time. Safe to call from several threads.

    Raises:
        Misconfigured: the library that reads PDF is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        parser_version(settings.pdf_parser)  # fails if a library is missing
        self._settings = settings
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None

    def parse(
        self,
        data: bytes,
        *,
        name: str,
        part: tuple[int, int] | None = None,
        timeout_s: float | None = None,
        ocr: OcrRequest | None = None,
        cancelled: threading.Event | None = None,
    ) -> ParsedDocument:
        """Return the pages and the outcome of one document. Bad bytes never raise an exception.

        Args:
            data: the file.
            name: the file name.
            part: the pages to read, from the first of these numbers (counted from 0) to before the second, in
                a format that is ``parsed_in_parts``; None means all pages. The outcome of a part is ``ok``
                even if its pages have no text.
            timeout_s: limit in seconds; None means the setting ``parse_timeout_s``.
            ocr: if given, the text of the only page of ``part`` is recognised.
            cancelled: an event that another thread sets before it calls ``interrupt``, if the pages are no
                longer needed.

        Raises:
            Unavailable: the parsing process cannot be started.
        """
        request = self._request(name, timeout_s or self._settings.parse_timeout_s)
        pdf = FileBeginning.of(data[:SNIFFED_BYTES], name=name).is_pdf
        request.update(part=part, ocr=asdict(ocr) if ocr else None, pdf=pdf)
        with self._lock, MemoryFile(data) as document, MemoryFile(b"") as result:
            fault = self._run(request, (document.fileno(), result.fileno()), cancelled)
            if fault is not None:
                return without_pages(data, name, *fault)
            return read_result(result, data, name, first=part[0] if part else 0)

    def read_web_page(
        self,
        data: bytes,
        *,
        url: str,
        charset: str | None = None,
        cancelled: threading.Event | None = None,
    ) -> WebPage:
        """Return the main content, the links and the properties of a fetched web page. Bad bytes never raise
        an exception.

        Args:
            data: the body of the HTTP response, after decompression.
            url: URL that gave this response.
            charset: character set that the header ``Content-Type`` names.
            cancelled: see ``parse``.

        Raises:
            Unavailable: the parsing process cannot be started.
        """
        arguments = {"url": url, "charset": charset}
        found = self._read_fetched("page", data, url, arguments, cancelled, read_web_page_result)
        return found if isinstance(found, WebPage) else WebPage(outcome=found[0], detail=found[1])

    def read_sitemap(
        self, data: bytes, *, url: str, cancelled: threading.Event | None = None
    ) -> FoundInSitemap:
        """Return the URLs of a fetched sitemap. Bad bytes never raise an exception.

        Raises:
            Unavailable: the parsing process cannot be started.
        """
        found = self._read_fetched("sitemap", data, url, {}, cancelled, read_sitemap_result)
        return found if isinstance(found, FoundInSitemap) else FoundInSitemap(fault=found[1])

    def read_robots(
        self, data: bytes, *, url: str, agent: str, cancelled: threading.Event | None = None
    ) -> str:
        """Return the rules of a fetched ``robots.txt`` as text for ``RobotRules``. A file that cannot be read
        in the limits permits nothing. Bad bytes never raise an exception.

        Args:
            data, url, cancelled: see ``read_web_page``.
            agent: our name; see ``kept_rules``.

        Raises:
            Unavailable: the parsing process cannot be started.
        """
        found = self._read_fetched("robots", data, url, {"agent": agent}, cancelled, read_robots_result)
        return found if isinstance(found, str) else nothing_permitted(f"it {found[1]}")

    def unpack(
        self,
        data: bytes,
        *,
        name: str,
        limits: EntryLimits,
        into: BinaryIO,
        cancelled: threading.Event | None = None,
    ) -> tuple[Outcome, str] | None:
        """Unpack a container into an empty file, which ``entry_frames.read_entries`` reads. Bad bytes never
        raise an exception.

        Args:
            data: the container.
            name: the file name.
            limits: the limits on the entries.
            into: an empty file on a disk.
            cancelled: see ``parse``.

        Returns:
            The outcome and the reason if the child wrote no result; None if the child wrote a result.

        Raises:
            Unavailable: the parsing process cannot be started.
        """
        request = self._request(name, self._settings.unpack_timeout_s)
        request["entries"] = asdict(limits)
        request["result_bytes"] = limits.bytes + (limits.entries + 1) * MAX_HEADER_BYTES
        with self._lock, MemoryFile(data) as document:
            return self._run(request, (document.fileno(), into.fileno()), cancelled)

    def interrupt(self) -> None:
        """Kill the parsing process, and so end the parse that runs in another thread.

        Set the event ``cancelled`` of the parse first. Otherwise the other thread starts the parse again.
        """
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the parsing process."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_fetched(
        self,
        reader: str,
        data: bytes,
        url: str,
        arguments: dict[str, Any],
        cancelled: threading.Event | None,
        check: Callable[[MemoryFile], T],
    ) -> T | tuple[Outcome, str]:
        """Return what a reader of ``fetched_readers`` found, or why the child wrote no result."""
        request = self._request(url, self._settings.parse_timeout_s)
        request.update(fetched=reader, arguments=arguments)
        with self._lock, MemoryFile(data) as document, MemoryFile(b"") as result:
            return self._run(request, (document.fileno(), result.fileno()), cancelled) or check(result)

    def _request(self, name: str, limit_s: float) -> dict[str, Any]:
        settings = self._settings
        return {
            "name": name[-255:],
            "pdf": False,
            "part": None,
            "ocr": None,
            "fetched": None,
            "arguments": {},
            "entries": None,
            "timeout_s": limit_s,
            "memory_bytes": settings.parse_memory_bytes,
            "result_bytes": MAX_RESULT_BYTES,
            "max_pages": settings.max_document_pages,
            "max_characters": settings.max_document_characters,
            "pdf_parser": settings.pdf_parser,
        }

    def _run(
        self, request: dict[str, Any], files: tuple[int, int], cancelled: threading.Event | None
    ) -> tuple[Outcome, str] | None:
        """Send the request, at most twice. Return why the child wrote no result; None if it wrote one."""
        cancelled = cancelled or threading.Event()
        answer = self._ask(request, files, cancelled)
        if answer is None and not cancelled.is_set():
            answer = self._ask(request, files, cancelled)
        if answer is None:
            return Outcome.FAILED, "ended the process that parses documents, twice"
        if answer["timed_out"] or answer["exit"] == -signal.SIGXCPU:
            setting = "PARSE" if request["entries"] is None else "UNPACK"
            limit = f"{request['timeout_s']:g} seconds (CLUSTER_{setting}_TIMEOUT_S)"
            return Outcome.TIMEOUT, f"took longer to {setting.lower()} than {limit}"
        if answer["exit"] in {EXIT_MEMORY, -signal.SIGXFSZ}:
            mib = self._settings.parse_memory_bytes // (1024 * 1024)
            limit = f"{mib:,} MiB (CLUSTER_PARSE_MEMORY_BYTES)"
            return Outcome.TOO_LARGE, f"needs more memory to parse than {limit}"
        if answer["exit"] != EXIT_OK:
            return Outcome.CORRUPT, f"crashed its parser ({_exit_name(answer['exit'])})"
        return None

    def _ask(
        self, request: dict[str, Any], files: tuple[int, int], cancelled: threading.Event
    ) -> dict[str, Any] | None:
        """Send the request, and return how the child ended; None if the child or the parsing process was
        killed or gave no valid answer, or the parse was cancelled.

        If the parsing process is lost, end it and close the connection.
        """
        result, name = files[1], request["name"]
        os.ftruncate(result, 0)  # a killed child may have written a result or a part of a result
        os.lseek(result, 0, os.SEEK_SET)
        try:
            connection = self._connected()
            # Check this event only after the process exists: if the other thread called ``interrupt`` before
            # a process existed, this thread sees the event here and ends the parse.
            if cancelled.is_set():
                return None
            connection.settimeout(request["timeout_s"] + ANSWER_GRACE_S)
            socket.send_fds(connection, [json.dumps(request).encode()], list(files))
            answer = connection.recv(4096)
            parsed: dict[str, Any] | None = json.loads(answer) if answer.endswith(b"\n") else None
        except (OSError, ValueError) as exc:
            log.warning("parse_process_lost", source=name, reason=str(exc))
            parsed = None
        if parsed is None:
            self.close()
        elif parsed["exit"] == -signal.SIGKILL and not parsed["timed_out"]:
            # The kernel (for lack of memory) or a person killed the child, so the document is not at fault.
            log.warning("parse_child_killed", source=name)
            return None
        return parsed

    def _connected(self) -> socket.socket:
        if self._connection is None or self._process is None or self._process.poll() is not None:
            self.close()
            # SEQPACKET delivers each request whole, together with its files.
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            command = [sys.executable, "-m", "data_jobs.stages.parsing.fork_server"]
            command += [str(theirs.fileno()), self._settings.pdf_parser]
            try:
                self._process = subprocess.Popen(
                    command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
                )
            except OSError as exc:
                ours.close()
                raise Unavailable(f"the parsing process cannot be started: {exc}") from exc
            finally:
                theirs.close()
            self._connection = ours
            # The start does not count against the time limit of the document.
            ours.settimeout(START_TIMEOUT_S)
            if ours.recv(len(READY)) != READY:
                raise OSError("the process ended before it was ready")
        return self._connection


def _exit_name(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
