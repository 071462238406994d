"""Links become URLs, URLs of one page are recognised, and a crawl stays in its part of a website."""

import pytest

from cluster.crawls.scope import CrawlScope
from cluster.crawls.urls import page_id, page_url, repeats_segments
from cluster.errors import Permanent
from cluster.jobs.kinds.crawl_inputs import DiscoverInput

BASE = "https://example.com/docs/guide/index.html"
LINKS = {
    "../install.html#linux": "https://example.com/docs/install.html",
    "//EXAMPLE.com:443/a/./b/../c": "https://example.com/a/c",
    "http://example.com:8080": "http://example.com:8080/",
    "?b=2&a=1": "https://example.com/docs/guide/index.html?b=2&a=1",
    " /ä b ": "https://example.com/%C3%A4%20b",
    "https://bücher.example./": "https://xn--bcher-kva.example/",
    "mailto:a@example.com": None,
    "javascript:void(0)": None,
    "file:///etc/passwd": None,
    "https://user@example.com/": None,
    "http://[bad/": None,
    "http://example.com:99999/": None,
    "/" + "x" * 2_000: None,
}


@pytest.mark.parametrize(("link", "url"), LINKS.items(), ids=[link[:20] for link in LINKS])
def test_a_link_becomes_an_absolute_url(link: str, url: str | None) -> None:
    assert page_url(link, base=BASE) == url


def test_urls_of_one_page_have_one_id() -> None:
    assert page_id("https://example.com/?a=1&b=2") == page_id("https://example.com/?b=2&a=1")
    assert page_id("https://example.com/a") != page_id("https://example.com/a/")
    assert page_url("/x?session=1", base=BASE, ignore_query=True) == "https://example.com/x"


def test_paths_that_repeat_themselves_are_recognised() -> None:
    assert repeats_segments("https://example.com/a/b/a/b/a/b/a/b")
    assert not repeats_segments("https://example.com/1/2/1/1")


SCOPES: dict[str, tuple[dict[str, object], list[str], list[str]]] = {
    "below the start": (
        {},
        ["https://example.com/docs/a", "http://www.example.com/docs/"],
        ["https://example.com/docs2/", "https://example.com/", "https://sub.example.com/docs/"],
    ),
    "the whole host": (
        {"crawlEntireDomain": True},
        ["https://example.com/"],
        ["https://sub.example.com/", "https://notexample.com/"],
    ),
    "subdomains": ({"allowSubdomains": True}, ["https://a.example.com/"], ["https://notexample.com/"]),
    "everywhere": ({"allowExternalLinks": True}, ["https://other.example/"], []),
    "patterns": (
        {"includePaths": ["/v2/"], "excludePaths": [r"\.zip$"]},
        ["https://example.com/docs/v2/a"],
        ["https://example.com/docs/v1/a", "https://example.com/docs/v2/a.zip"],
    ),
    "patterns of whole URLs": (
        {"includePaths": [r"\?lang=en"], "regexOnFullURL": True},
        ["https://example.com/docs/?lang=en"],
        ["https://example.com/docs/?lang=de"],
    ),
}


@pytest.mark.parametrize(("options", "inside", "outside"), SCOPES.values(), ids=SCOPES)
@pytest.mark.parametrize("start", ["/docs/", "/docs", "/docs/index.html"])
def test_a_crawl_visits_only_what_its_options_permit(
    start: str, options: dict[str, object], inside: list[str], outside: list[str]
) -> None:
    asked = DiscoverInput.model_validate({"url": "https://example.com/", **options})
    scope = CrawlScope(asked, start=f"https://example.com{start}")
    assert [url for url in inside + outside if scope.includes(url)] == inside


def test_a_pattern_that_takes_exponential_time_ends_the_crawl() -> None:
    asked = DiscoverInput(url=BASE, include_paths=["docs/(a|aa)+-"])
    scope = CrawlScope(asked, start="https://example.com/docs/")
    with pytest.raises(Permanent, match="simpler"):
        scope.includes("https://example.com/docs/" + "a" * 200 + "!-")
