"""Fetched pages are read in a child process with limits, and no page harms it."""

import json
import random
from collections.abc import Iterator
from dataclasses import asdict

import pytest

from cluster.crawls.robots import RobotRules
from cluster.records import Outcome
from cluster.settings import Settings
from data_jobs.stages.formats.web.web_page import WebPage
from data_jobs.stages.parsing.fetched_results import (
    read_robots_result,
    read_sitemap_result,
    read_web_page_result,
)
from data_jobs.stages.parsing.memory_file import MemoryFile
from data_jobs.stages.parsing.parser import Parser
from tests.simulators.site import documentation
from tests.waiting import Stopwatch, until

URL, AGENT = "https://docs.test/", "embedding-cluster"
#: Pages that need much time or memory of a careless reader.
HOSTILE = {
    "depth": b"<div>" * 100_000,
    "depth of tables": b"<table><tr><td>" * 50_000,
    "links": b"".join(b'<a href="/%d">x</a> ' % number for number in range(20_000)),
    "breaks": b"<ul><li>" + b"<br>" * 20_000,
    "roots": b"<script></script>" + b"<div data-reactroot>" * 50_000,
    "headings": b"<h1><a href=#>" * 20_000,
    "attributes": b"<p " + b"a=1 " * 200_000 + b">text",
    "no tags": b"<" * 500_000,
    "entities": b"&amp;" * 200_000,
    "nul": bytes(500_000),
    "classes": b'<div class="' + b"nav-" * 200_000 + b'">text</div>',
}
ENDS = {Outcome.OK, Outcome.EMPTY, Outcome.TOO_LARGE, Outcome.CORRUPT, Outcome.TIMEOUT}


@pytest.fixture(scope="module")
def impatient() -> Iterator[Parser]:
    """A parser with a time limit of one second."""
    with Parser(Settings(parse_timeout_s=1.0)) as parser:
        parser.read_web_page(b"start", url=URL)
        yield parser


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_page_has_an_outcome_in_time(impatient: Parser, name: str) -> None:
    began = Stopwatch()
    assert impatient.read_web_page(HOSTILE[name], url=URL).outcome in ENDS
    assert began.seconds() < 10
    after = until(  # a busy machine can take a second for it
        lambda: impatient.read_web_page(b"<h1>After</h1>", url=URL),
        lambda page: page.outcome is not Outcome.TIMEOUT,
    )
    assert after.blocks == ("<h1>After</h1>",)


def test_mutated_pages_have_an_outcome(parser: Parser) -> None:
    chance = random.Random(16)
    whole = documentation()["/sqlite/nulls.html"]
    for _ in range(20):
        data = bytearray(whole[: chance.randrange(len(whole))])
        for _ in range(50):
            data[chance.randrange(len(data))] = chance.randrange(256)
        assert parser.read_web_page(bytes(data), url=URL).outcome in {Outcome.OK, Outcome.EMPTY}


def test_a_page_over_the_time_limit_says_so() -> None:
    with Parser(Settings(parse_timeout_s=0.3)) as parser:
        page = parser.read_web_page(HOSTILE["depth"], url=URL)
    assert page.outcome is Outcome.TIMEOUT
    assert "CLUSTER_PARSE_TIMEOUT_S" in page.detail


@pytest.mark.parametrize(
    "change",
    [{"outcome": "good"}, {"title": 5}, {"title": "a" * 1_000}, {"links": ["a" * 5_000]}, {"blocks": [1]}],
)
def test_an_invalid_result_of_the_child_counts_as_corrupt(parser: Parser, change: dict[str, object]) -> None:
    valid = asdict(WebPage(outcome=Outcome.OK))
    for written, outcome in ((valid, Outcome.OK), (valid | change, Outcome.CORRUPT)):
        with MemoryFile(json.dumps(written).encode()) as result:
            assert read_web_page_result(result).outcome is outcome


def test_sitemaps_and_robots_are_read_in_a_child(parser: Parser) -> None:
    sitemap = b"<urlset><url><loc>https://docs.test/a</loc></url></urlset>"
    assert parser.read_sitemap(sitemap, url=URL).pages == ["https://docs.test/a"]
    text = parser.read_robots(b"User-agent: *\nDisallow: /a\nCrawl-delay: 2\n", url=URL, agent=AGENT)
    rules = RobotRules(text, agent=AGENT)
    assert not rules.permits("https://docs.test/a")
    assert (rules.permits("https://docs.test/b"), rules.crawl_delay_s) == (True, 2.0)


def test_a_sitemap_and_robots_over_a_limit_give_nothing_and_a_reason() -> None:
    lines = [b"https://docs.test/%d" % number for number in range(2_000_000)]
    rules = b"User-agent: *\n" + b"Disallow: /a*$\n" * 40_000
    with Parser(Settings(parse_timeout_s=0.01)) as parser:
        sitemap = parser.read_sitemap(b"\n".join(lines), url=URL)
        text = parser.read_robots(rules, url=URL, agent=AGENT)
    assert sitemap.pages == []
    assert "CLUSTER_PARSE_TIMEOUT_S" in sitemap.fault
    read = RobotRules(text, agent=AGENT)
    assert "CLUSTER_PARSE_TIMEOUT_S" in (read.unreadable or "")
    assert not read.permits("https://docs.test/b")


@pytest.mark.parametrize("pages", [5, [5], ["a" * 5_000], ["\ud800"], ["a"] * 50_001])
def test_an_invalid_sitemap_of_the_child_has_no_urls(pages: object) -> None:
    with MemoryFile(json.dumps({"pages": pages, "sitemaps": []}).encode()) as result:
        found = read_sitemap_result(result)
    assert (found.pages, "invalid result" in found.fault) == ([], True)


@pytest.mark.parametrize("text", [5, None, "\0", "\ud800", "a" * 2_000_000])
def test_invalid_rules_of_the_child_permit_nothing(text: object) -> None:
    with MemoryFile(json.dumps({"text": text}).encode()) as result:
        read = RobotRules(read_robots_result(result), agent=AGENT)
    assert not read.permits("https://docs.test/")
    assert "invalid result" in (read.unreadable or "")
