"""Sitemaps are read in all their forms; hostile ones give no URL that they hide, and cost little."""

import gzip
import time

import pytest

from data_jobs.stages.formats.web.sitemaps import MAX_SITEMAP_URLS, read_sitemap

ONE = b"<url><loc> https://a.test/1 </loc><image:loc>https://a.test/i.png</image:loc></url>"
XML = b"\xef\xbb\xbf<?xml version='1.0'?><urlset xmlns='x' xmlns:image='y'>" + ONE + b"</urlset>"
INDEX = b"<sitemapindex><sitemap><loc>https://a.test/s.xml</loc></sitemap></sitemapindex>"


def test_every_form_of_a_sitemap_is_read() -> None:
    assert read_sitemap(XML).pages == ["https://a.test/1"]
    assert read_sitemap(gzip.compress(XML)).pages == ["https://a.test/1"]
    assert read_sitemap(INDEX).sitemaps == ["https://a.test/s.xml"]
    assert read_sitemap(b"https://a.test/1\r\n\r\nhttps://a.test/2\n").pages == [
        "https://a.test/1",
        "https://a.test/2",
    ]


def entities() -> bytes:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    return (
        f'<!DOCTYPE x [<!ENTITY e0 "https://a.test/">{levels}<!ENTITY f SYSTEM "file:///etc/passwd">]>'
        "<urlset><url><loc>&e9;</loc></url><url><loc>&f;</loc></url></urlset>"
    ).encode()


HOSTILE = {
    "entities": entities(),
    "half": XML[: len(XML) // 2],
    "deep": b"<a>" * 200_000,
    "bomb": gzip.compress(b" " * 1024 * 1024) * 300,
    "damaged gzip": gzip.compress(XML)[:20] + b"\0" * 50,
    "nothing": b"",
    "long": b"<urlset><url><loc>https://a.test/" + b"x" * 3_000_000 + b"</loc></url></urlset>",
    "no XML": b"<html><body><p>Not found",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_sitemap_gives_nothing_in_little_time(body: bytes) -> None:
    began = time.process_time()
    found = read_sitemap(body)
    assert (found.pages, found.sitemaps) == ([], [])
    assert time.process_time() - began < 1


def test_the_urls_before_a_damage_are_used_and_their_number_has_a_limit() -> None:
    many = b"<urlset>" + b"<url><loc>https://a.test/1</loc></url>" * (MAX_SITEMAP_URLS + 100)
    assert len(read_sitemap(many).pages) == MAX_SITEMAP_URLS
    assert read_sitemap(XML.replace(b"</urlset>", b"<broken")).pages == ["https://a.test/1"]
