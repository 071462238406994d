"""A document that needs more memory than the limit is too large, however its library reports that."""

import ctypes
import faulthandler
import os
import signal
import socket
from typing import Any

import pytest

from cluster.records import Outcome
from cluster.settings import Settings
from data_jobs.stages.parsing import fork_server
from data_jobs.stages.parsing.child_contract import EXIT_MEMORY
from data_jobs.stages.parsing.out_of_memory import address_space, is_out_of_memory
from data_jobs.stages.parsing.parser import Parser
from tests.data_jobs.stages.pdf_samples import pages, written

MIB = 1024 * 1024
SAID = [
    "code=2: malloc (41943040 bytes) failed",
    "code=2: calloc (10 x 41943040 bytes) failed",
    "code=2: realloc (83886080 bytes) failed",
    "std::bad_alloc",
    "Cannot allocate memory",
    "Memory allocation failed : xmlSAX2Characters, line 1, column 9",
    "Out of memory",
]


@pytest.mark.parametrize("words", SAID)
def test_every_library_message_about_lack_of_memory_is_recognised(words: str) -> None:
    assert is_out_of_memory(RuntimeError(words))
    assert is_out_of_memory(SyntaxError(words))
    opened = ValueError("Failed to open stream")
    opened.__cause__ = RuntimeError(words)
    assert is_out_of_memory(opened)


@pytest.mark.parametrize(
    "error", [RuntimeError("code=7: invalid key in dict"), ValueError("bad xref"), KeyError("allocate")]
)
def test_errors_of_damaged_documents_are_not_taken_for_lack_of_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)


def crash(_: dict[str, Any]) -> None:
    ctypes.string_at(0)


def abort(_: dict[str, Any]) -> None:
    os.abort()


def crash_at_the_limit(limits: dict[str, Any]) -> None:
    held = []
    try:
        while True:
            held.append(bytearray(4 * MIB))
    except MemoryError:
        ctypes.string_at(0)


def abort_saying_so(_: dict[str, Any]) -> None:
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


CRASHES = {
    "crash": (crash, -signal.SIGSEGV),
    "abort": (abort, -signal.SIGABRT),
    "crash at the limit": (crash_at_the_limit, EXIT_MEMORY),
    "abort that says why": (abort_saying_so, EXIT_MEMORY),
}


@pytest.mark.parametrize(("end", "code"), CRASHES.values(), ids=CRASHES)
def test_a_crash_near_the_memory_limit_counts_as_lack_of_memory(
    end: Any, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(*_: Any, **limits: Any) -> None:
        faulthandler.disable()
        end(limits)

    monkeypatch.setattr(fork_server, "parse", parse)
    # For the other crashes the limit is far away, whatever earlier tests have loaded into this process.
    limit = address_space()[0] + 256 * MIB if code == EXIT_MEMORY else 4 * address_space()[0]
    request = {
        "name": "a",
        "part": None,
        "fetched": None,
        "entries": None,
        "timeout_s": 60.0,
        "memory_bytes": limit,
        "result_bytes": MIB,
        "max_pages": 1,
        "max_characters": 1,
        "pdf_parser": "pymupdf",
        "ocr": None,
    }
    document, result = os.memfd_create("document"), os.memfd_create("result")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert fork_server._in_child(request, document, result, theirs) == {"timed_out": False, "exit": code}
    os.close(document)
    os.close(result)


def test_the_sentence_names_the_limit_and_its_setting() -> None:
    with Parser(Settings(parse_memory_bytes=256 * MIB)) as parser:
        parsed = parser.parse(written(pages(1)) + bytes(120 * MIB), name="a.pdf")
    assert parsed.outcome == Outcome.TOO_LARGE
    assert parsed.detail == "needs more memory to parse than 256 MiB (CLUSTER_PARSE_MEMORY_BYTES)"
