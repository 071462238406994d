"""The site of traps serves its documentation, and its traps harm a client without a guard."""

import gzip
import time
from collections.abc import Iterator

import httpx
import pytest

from cluster.outbound import DeadlineExceeded, NoAnswer, OutboundClient, Refused, TooLarge
from tests.simulators.site import INNER, MAIN, SUBDOMAIN_NAME, TrapSite, site_of_traps
from tests.simulators.site.traps import ADDRESS_FORMS, LARGE_BYTES, MIB, TRAPS

#: What the guarded transport answers to the traps that are not answers with a body.
CAUGHT = {
    "/traps/redirect-inner": Refused,
    "/traps/redirect-inner-name": Refused,
    "/traps/redirect-metadata": Refused,
    "/traps/redirect-file": Refused,
    "/traps/circle": Refused,
    "/traps/cookies.html": Refused,
    "/traps/large.html": TooLarge,
    "/traps/large-unannounced.html": TooLarge,
    "/traps/bomb.html": TooLarge,
    "/traps/slow.html": DeadlineExceeded,
    "/traps/truncated.html": NoAnswer,
    "/traps/reset.html": NoAnswer,
    "/traps/headers.html": NoAnswer,
}


@pytest.fixture(scope="module")
def site() -> Iterator[TrapSite]:
    with site_of_traps() as site:
        yield site


@pytest.fixture(scope="module")
def client(site: TrapSite) -> OutboundClient:
    return OutboundClient(site.settings(), resolver=site.resolve)


def test_every_page_is_there_by_name_and_by_address(site: TrapSite, client: OutboundClient) -> None:
    for by_name in (True, False):
        answer = client.get(site.url("/mako/caching.html", by_name=by_name), max_bytes=MIB, deadline_s=10)
        assert b"<h1>Caching" in answer.body
    assert len(site.expected_paths()) > 55
    again = client.get(
        site.url("/mako/caching.html"),
        headers={"if-none-match": answer.headers["etag"]},
        max_bytes=MIB,
        deadline_s=10,
    )
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("path", CAUGHT)
def test_the_guarded_transport_survives_each_trap(site: TrapSite, client: OutboundClient, path: str) -> None:
    with pytest.raises(CAUGHT[path]):
        client.get(site.url(path), max_bytes=5 * MIB, deadline_s=1)
    assert site.sent[path] < LARGE_BYTES / 4
    assert not site.inner_requests


def test_no_form_of_an_inner_address_is_reached(site: TrapSite, client: OutboundClient) -> None:
    for form in ADDRESS_FORMS:
        with pytest.raises((Refused, NoAnswer)):
            client.get(f"http://{form}:{site.port}/secret", max_bytes=MIB, deadline_s=5)
    rebinding = f"http://rebind.test:{site.port}/traps/index.html"
    assert client.get(rebinding, max_bytes=MIB, deadline_s=5).status == 200
    with pytest.raises(Refused):
        client.get(rebinding, max_bytes=MIB, deadline_s=5)
    assert not site.inner_requests


def test_the_inner_service_answers_a_client_without_a_guard(site: TrapSite) -> None:
    answer = httpx.get(site.url("/traps/redirect-inner", by_name=False), follow_redirects=True)
    assert "secret" in answer.text
    assert [request.address for request in site.inner_requests] == [INNER]
    site.inner_requests.clear()


def test_changed_and_removed_pages_answer_so(site: TrapSite, client: OutboundClient) -> None:
    url = site.url("/sqlite/nulls.html")
    before = client.get(url, max_bytes=MIB, deadline_s=5)
    site.change("/sqlite/nulls.html", "A sentence about quokkas.")
    after = client.get(url, headers={"if-none-match": before.headers["etag"]}, max_bytes=MIB, deadline_s=5)
    assert after.status == 200
    assert b"quokkas" in after.body
    site.remove("/sqlite/nulls.html")
    assert client.get(url, max_bytes=MIB, deadline_s=5).status == 404


def test_robots_and_sitemaps_name_the_pages_and_the_traps(site: TrapSite, client: OutboundClient) -> None:
    robots = client.get(site.url("/robots.txt"), max_bytes=MIB, deadline_s=5).body.decode()
    assert "Disallow: /private/" in robots
    assert f"Sitemap: http://{INNER}" in robots
    packed = client.get(site.url("/sitemap-pages.xml.gz"), max_bytes=MIB, deadline_s=5).body
    assert site.url("/lxml/intro.html").encode() in gzip.decompress(packed)
    with pytest.raises(TooLarge):
        client.get(site.url("/sitemap-bomb.xml.gz"), max_bytes=100_000, deadline_s=5)
    other = client.get(f"http://{SUBDOMAIN_NAME}:{site.port}/x", max_bytes=MIB, deadline_s=5)
    assert b"api.docs.test" in other.body


def test_a_busy_page_answers_at_the_third_request(site: TrapSite) -> None:
    answers = [httpx.get(f"http://{MAIN}:{site.port}/traps/busy.html") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "1"


def test_every_trap_is_linked(site: TrapSite, client: OutboundClient) -> None:
    body = client.get(site.url("/traps/index.html"), max_bytes=MIB, deadline_s=5).body.decode()
    assert all(f'href="{path}"' in body for path in TRAPS)
    began = time.monotonic()
    assert client.get(site.url("/traps/calendar/7"), max_bytes=MIB, deadline_s=5).status == 200
    assert time.monotonic() - began < 5
