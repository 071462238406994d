"""Every document ends in an outcome with a sentence, and no document harms another one."""

import json
import os
import signal
import sys
import threading
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pymupdf
import pytest

from cluster.records import Outcome, ParsedDocument
from cluster.settings import Settings
from data_jobs.stages.parsing import read_result as result_module
from data_jobs.stages.parsing.memory_file import MemoryFile
from data_jobs.stages.parsing.parser import Parser
from tests.conftest import ROOT
from tests.data_jobs.stages.bad_documents import SENTENCE, pdf_of, write_bad_documents
from tests.waiting import LONGEST_WAIT_S, Stopwatch

GIB = 1024**3
#: Libraries with compiled code, most of which only other processes of the cluster need.
LIBRARIES = ("numpy", "psycopg", "pydantic", "torch", "pymupdf")


def process_of(parser: Parser) -> psutil.Process:
    """The process that forks a child for each document."""
    assert parser._process is not None
    return psutil.Process(parser._process.pid)


def test_every_bad_document_has_its_outcome_and_a_sentence(parser: Parser, tmp_path: Path) -> None:
    for name, expected in write_bad_documents(tmp_path).items():
        parsed = parser.parse((tmp_path / name).read_bytes(), name=name)
        assert (name, parsed.outcome) == (name, expected)
        if expected.searchable:
            assert SENTENCE in parsed.pages[0].text
        else:
            assert parsed.pages == ()
        assert expected == Outcome.OK or len(parsed.detail.split()) >= 3


def test_the_parsing_process_loads_only_the_libraries_that_its_documents_need() -> None:
    def loaded() -> set[str]:
        paths = str([line.path for line in process_of(parser).memory_maps()])
        return {name for name in LIBRARIES if f"/{name}" in paths}

    with Parser(Settings(pdf_parser="pymupdf")) as parser:
        assert parser.parse(b"start", name="a.txt").outcome == Outcome.OK
        assert loaded() == set()
        assert parser.parse(pdf_of(SENTENCE), name="a.pdf").outcome == Outcome.OK
        assert loaded() == {"pymupdf"}


def test_a_bomb_stays_far_below_the_memory_of_a_worker(tmp_path: Path) -> None:
    write_bad_documents(tmp_path)
    most, stop = 0, threading.Event()
    with Parser(Settings()) as parser:
        parser.parse(b"start", name="a.txt")

        def watch() -> None:
            nonlocal most
            while not stop.wait(0.005):
                for process in (process_of(parser), *process_of(parser).children()):
                    try:
                        most = max(most, process.memory_info().rss)
                    except psutil.NoSuchProcess:
                        continue

        watcher = threading.Thread(target=watch)
        watcher.start()
        assert (
            parser.parse((tmp_path / "bomb.pdf").read_bytes(), name="bomb.pdf").outcome == Outcome.TOO_LARGE
        )
        stop.set()
        watcher.join()
    assert 0 < most < 1.5 * GIB


def test_a_pdf_that_only_its_owner_may_change_opens(parser: Parser) -> None:
    with pymupdf.open("pdf", pdf_of(SENTENCE)) as document:
        restricted = document.tobytes(encryption=pymupdf.PDF_ENCRYPT_AES_256, owner_pw="owner", permissions=0)
    assert parser.parse(restricted, name="a.pdf").outcome == Outcome.OK


def test_a_document_over_a_limit_names_the_limit_and_its_setting() -> None:
    with Parser(Settings(max_document_characters=10, max_document_pages=1)) as parser:
        assert (
            "CLUSTER_MAX_DOCUMENT_CHARACTERS" in parser.parse(b"far too many characters", name="a.txt").detail
        )
        with pymupdf.open() as document:
            document.new_page()
            document.new_page()
            two_pages = document.tobytes()
        assert "CLUSTER_MAX_DOCUMENT_PAGES" in parser.parse(two_pages, name="a.pdf").detail


def slow_markdown() -> bytes:
    """Markdown that takes much longer than a second to parse."""
    return b"[a](" * 3_000 + b"*_`" * 400_000


def test_a_parse_that_takes_too_long_is_ended_and_the_next_one_goes_on() -> None:
    with Parser(Settings()) as parser:
        parser.parse(b"start", name="a.txt")
        started = Stopwatch()
        parsed = parser.parse(slow_markdown(), name="a.md", timeout_s=0.3)
        assert parsed.outcome == Outcome.TIMEOUT
        assert "CLUSTER_PARSE_TIMEOUT_S" in parsed.detail
        assert started.seconds() < 5
        assert parser.parse(b"next", name="b.txt").outcome == Outcome.OK


@pytest.mark.parametrize(("kills", "outcome"), [(1, Outcome.OK), (2, Outcome.FAILED)], ids=["once", "twice"])
def test_a_child_that_is_killed_has_its_document_parsed_once_more(kills: int, outcome: Outcome) -> None:
    markdown = b"> - > *[](b)*\n\n" * 2_000 + b"The end.\n"
    with Parser(Settings(parse_timeout_s=LONGEST_WAIT_S)) as parser, ThreadPoolExecutor(1) as threads:
        parser.parse(b"start", name="a.txt")
        parsing = threads.submit(parser.parse, markdown, name="a.md")
        for _ in range(kills):
            while not (children := process_of(parser).children()):
                time.sleep(0.005)
            children[0].kill()
            children[0].wait()
        assert parsing.result(LONGEST_WAIT_S).outcome == outcome
        assert parser.parse(b"next", name="b.txt").outcome == Outcome.OK


def test_nothing_remains_of_the_result_of_a_killed_child(parser: Parser) -> None:
    wanted = threading.Event()
    with MemoryFile(b"text") as document, MemoryFile(b"") as result:
        for _ in range(2):
            request = parser._request("a.txt", 60.0)
            answer = parser._ask(request, (document.fileno(), result.fileno()), wanted)
        assert answer is not None
        assert [page.text for page in result_module.read_result(result, b"text", "a.txt", first=0).pages] == [
            "text"
        ]


VALID_RESULT = {
    "outcome": "partial_text",
    "detail": "",
    "pages": ["text", ""],
    "media_type": "application/pdf",
    "page_count": 2,
    "facts": {"encoding": "koi8-r"},
    "structure": [],
    "unread": [[2, "is a picture"]],
}


def read_result(written: object) -> ParsedDocument:
    """The parsed document for a child's result."""
    with MemoryFile(json.dumps(written).encode()) as result:
        return result_module.read_result(result, b"%PDF-1.7", "a.pdf", first=0)


def test_a_result_with_an_unread_page_is_partial_and_names_it() -> None:
    parsed = read_result(VALID_RESULT)
    assert (parsed.outcome, parsed.detail) == (
        Outcome.PARTIAL_TEXT,
        "page 2 of 2 could not be read: it is a picture",
    )
    assert parsed.facts == {"encoding": "koi8-r", "unread_pages": 1}


@pytest.mark.parametrize(
    "lie",
    [
        {"facts": {"file_id": "file-of-another"}},
        {"facts": {"encoding": "x" * 513}},
        {"facts": {"encoding": "NUL \0"}},
        {"facts": {"encoding": "\ud800"}},
        {"facts": {"encoding": ["a", "list"]}},
        {"facts": {"encoding": None}},
        {"facts": {"replaced_bytes": float("nan")}},
        {"facts": {"replaced_bytes": 10**400}},
        {"facts": ["encoding"]},
        {"structure": [], "unread": [[3, "is beyond the last page"]]},
        {"structure": [], "unread": [[-1, "is before the first"]]},
        {"structure": [], "unread": [[2, "x" * 513]]},
        {"structure": [], "unread": [[2]]},
        {"unread": 5},
        {"unread": None},
    ],
    ids=lambda lie: str(lie)[:40],
)
def test_an_invalid_result_is_refused(lie: dict[str, object]) -> None:
    assert read_result(VALID_RESULT | lie).outcome == Outcome.CORRUPT


def test_a_cancelled_document_is_not_parsed(parser: Parser) -> None:
    cancelled = threading.Event()
    cancelled.set()
    parser.interrupt()
    assert parser.parse(b"text", name="a.txt", cancelled=cancelled).outcome == Outcome.FAILED
    assert parser.parse(b"next", name="b.txt").outcome == Outcome.OK


def test_parsing_ends_at_once_if_the_owner_is_killed() -> None:
    script = (
        "from tests.data_jobs.stages.parsing.test_parser import *; "
        "Parser(Settings()).parse(slow_markdown(), name='a.md')"
    )
    owner = psutil.Popen([sys.executable, "-c", script], cwd=ROOT)
    while len(started := owner.children(recursive=True)) < 2:
        time.sleep(0.05)
    owner.kill()
    owner.wait()
    killed = Stopwatch()
    assert psutil.wait_procs(started, timeout=LONGEST_WAIT_S)[1] == []
    assert killed.seconds() < 5


def test_the_parsing_process_itself_is_replaced_when_it_is_killed(parser: Parser) -> None:
    parser.parse(b"start", name="a.txt")
    os.kill(process_of(parser).pid, signal.SIGKILL)
    assert parser.parse(b"next", name="b.txt").pages[0].text == "next"


def test_many_documents_leave_no_process_and_no_file_behind(parser: Parser) -> None:
    parser.parse(b"start", name="a.txt")
    before = (process_of(parser).num_fds(), psutil.Process().num_fds())
    with ThreadPoolExecutor(4) as threads:
        parsed = list(threads.map(lambda n: parser.parse(f"text {n}".encode(), name="a.txt"), range(200)))
    assert [one.pages[0].text for one in parsed] == [f"text {n}" for n in range(200)]
    assert process_of(parser).children() == []
    assert (process_of(parser).num_fds(), psutil.Process().num_fds()) == before


def test_the_parsing_process_ends_with_its_owner() -> None:
    parser = Parser(Settings())
    parser.parse(b"start", name="a.txt")
    process = process_of(parser)
    parser.close()
    assert not process.is_running()


@pytest.mark.corpus
def test_every_word_of_the_real_pages_is_in_the_text(parser: Parser, corpus: Path) -> None:
    words = 0
    for path in sorted(corpus.glob("*.pdf")):
        parsed = parser.parse(path.read_bytes(), name=path.name)
        with pymupdf.open(path) as document:
            assert len(parsed.pages) == document.page_count
            for page, source in zip(parsed.pages, document.pages(), strict=True):
                text = letters(page.text)
                for word in source.get_text("words"):
                    words += 1
                    assert letters(word[4]) in text, (path.name, page.number, word[4])
    assert words > 100_000


def letters(text: str) -> str:
    """The letters and digits of the text, with ligatures spelt out."""
    return "".join(character for character in unicodedata.normalize("NFKC", text) if character.isalnum())
