"""``robots.txt`` is read as RFC 9309 says, and a hostile one takes neither time nor memory."""

import time
import tracemalloc

from cluster.crawls.robots import (
    EVERYTHING_PERMITTED,
    MAX_CRAWL_DELAY_S,
    RobotRules,
    kept_rules,
    nothing_permitted,
)

AGENT = "embedding-cluster"
TEXT = b"""\
\xef\xbb\xbfUser-agent: somebody-else
Disallow: /

USER-AGENT: *   # everybody
Disallow: /private/
Allow: /private/open.html
Disallow: /*.tmp$
Crawl-delay: 2.5
Sitemap: https://example.com/map.xml
"""


def rules(text: bytes) -> RobotRules:
    return RobotRules(kept_rules(text, agent=AGENT), agent=AGENT)


def test_rules_for_everybody_apply_and_those_for_others_do_not() -> None:
    read = rules(TEXT)
    paths = ["/", "/private/", "/private/open.html", "/a.tmp", "/a.tmp?x", "/private/closed"]
    assert [path for path in paths if read.permits(f"https://example.com{path}")] == [
        "/",
        "/private/open.html",
        "/a.tmp?x",
    ]
    assert (read.crawl_delay_s, read.sitemaps) == (2.5, ["https://example.com/map.xml"])
    assert read.unreadable is None


def test_rules_for_our_name_replace_those_for_everybody() -> None:
    read = rules(TEXT + b"\nUser-agent: Embedding-Cluster\nDisallow: /ours/\n")
    assert read.permits("https://example.com/private/")
    assert not read.permits("https://example.com/ours/a")


def test_an_unreadable_file_forbids_everything_and_a_missing_one_nothing() -> None:
    forbidden = RobotRules(nothing_permitted("the server answers with 503"), agent=AGENT)
    assert not forbidden.permits("https://example.com/")
    assert forbidden.unreadable == "the server answers with 503"
    assert RobotRules(EVERYTHING_PERMITTED, agent=AGENT).permits("https://example.com/")


def test_a_delay_is_finite_and_not_negative() -> None:
    for text, delay_s in {"nan": 0.0, "-3": 0.0, "x": 0.0, "1e300": MAX_CRAWL_DELAY_S}.items():
        assert rules(f"User-agent: *\nCrawl-delay: {text}\n".encode()).crawl_delay_s == delay_s


def test_thousands_of_agents_with_thousands_of_rules_cost_little() -> None:
    agents = b"".join(b"User-agent: a%d\n" % number for number in range(14_000))
    text = agents + b"Disallow: /x\n" * 20_000 + b"\0\xff Disallow: /a*a*a*a*a*a*a*b\n" * 100
    tracemalloc.start()
    began = time.process_time()
    assert rules(text).permits("https://example.com/" + "a" * 1_900)
    assert time.process_time() - began < 2
    assert tracemalloc.get_traced_memory()[1] < 100_000_000
    tracemalloc.stop()
