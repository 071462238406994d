"""Each chapter of an e-book is a page, named after its entry in the table of contents."""

import pytest

from cluster.records import Outcome
from data_jobs.stages.formats.contract import ParseOptions, Unreadable
from data_jobs.stages.formats.office.epub import parse
from tests.data_jobs.stages.formats.office.packages import epub_of

OPTIONS = ParseOptions(max_pages=2)
FIRST = (
    '<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" "http://x/y.dtd"><html '
    'xmlns="http://www.w3.org/1999/xhtml"><head><title/><script src="a.js"/></head><body><h1>Herons</h1>'
    '<p><a id="p1"/>Stand &#233;t&eacute;<br/>still.</p></body></html>'
)
SECOND = "<html><body><p>Bitterns boom.</p></body></html>"


def test_chapters_are_pages_with_the_names_of_the_contents() -> None:
    def point(href: str, name: str) -> str:
        return f'<navPoint><navLabel><text>{name}</text></navLabel><content src="{href}"/></navPoint>'

    chapters = {"a b.xhtml": FIRST, "c.xhtml": SECOND}
    toc = point("a%20b.xhtml#p1", "Chapter 1") + point("a%20b.xhtml#p2", "Later") + point("c.xhtml", "Two")
    nav = (
        '<html xmlns:epub="x"><nav epub:type="landmarks"><a href="c.xhtml">Start</a></nav>'
        '<nav epub:type="toc"><ol><li><a href="a%20b.xhtml">One</a></li></ol></nav></html>'
    )

    old, new = parse(epub_of(chapters, toc=toc), OPTIONS), parse(epub_of(chapters, nav=nav), OPTIONS)

    assert old.pages == ["Herons\n\nStand été still.", "Bitterns boom."]
    assert [page.label for page in old.structure] == ["Chapter 1", "Two"]
    assert (new.pages, [page.label for page in new.structure]) == (old.pages, ["One", ""])


def test_a_book_with_an_encrypted_chapter_is_encrypted_and_one_with_encrypted_fonts_is_not() -> None:
    def encryption(uri: str) -> str:
        return (
            '<encryption xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData><enc:CipherData>'
            f'<enc:CipherReference URI="{uri}"/></enc:CipherData></enc:EncryptedData></encryption>'
        )

    fonts = epub_of({"a.xhtml": SECOND}, **{"META-INF__encryption": encryption("OEBPS/a.otf")})
    locked = epub_of({"a.xhtml": SECOND}, **{"META-INF__encryption": encryption("OEBPS/a.xhtml")})

    assert parse(fonts, OPTIONS).pages == ["Bitterns boom."]
    with pytest.raises(Unreadable, match="DRM") as raised:
        parse(locked, OPTIONS)
    assert raised.value.outcome is Outcome.ENCRYPTED


def test_entities_are_refused_and_too_many_chapters_are_too_large() -> None:
    entities = '<!DOCTYPE p [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    toc = f"{entities}<ncx>&a;</ncx>"
    many = {f"{at}.xhtml": SECOND for at in range(3)}
    bomb = epub_of({"a.xhtml": SECOND}, **{"META-INF__container": f"{entities}<container>&a;</container>"})

    assert parse(epub_of({"a.xhtml": SECOND}, toc=toc), OPTIONS).pages == ["Bitterns boom."]
    with pytest.raises(Unreadable, match="declares entities"):
        parse(bomb, OPTIONS)
    with pytest.raises(Unreadable, match="has 3 chapters; the limit is 2 "):
        parse(epub_of(many), OPTIONS)


def test_a_missing_chapter_is_named_and_the_others_are_read() -> None:
    output = parse(epub_of({"a.xhtml": SECOND, "gone#x.xhtml": ""}), OPTIONS)
    assert (output.pages, output.unread) == (["Bitterns boom.", ""], {2: "is damaged or missing"})
