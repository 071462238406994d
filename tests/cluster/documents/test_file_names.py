"""A file keeps the name that its owner gave it, as far as it can be stored and shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.documents.file_names import plain_name, shown_name
from cluster.errors import InvalidInput
from cluster.text.storable_text import is_text

ANY = st.text(st.characters(codec=None, exclude_categories=()))

#: Names of real files.
KEPT = [
    "a.txt",
    "größe.pdf",
    "文書.pdf",
    "Screenshot 2026-11-28 at 9.41.07\u202fAM.png",
    "10\u00a0kg.txt",
    "見積書\u3000最終.pdf",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467.txt",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f.txt",
    "می\u200cخواهم.pdf",
    "Donau\u00addampfschiff.txt",
    "zero\u200bwidth\ufeff.txt",
    "\U0001faea.txt",  # assigned after Unicode 14, which Python 3.11 knows
    "\U0001fad9\U0001fae8.md",
    "cafe\u0301.txt",
    "logo\uf8ff.txt",
    "note\U0010ffff.txt",
    "שלום\u200f.pdf",
    "50%.txt",
    'a "quoted" name; with=signs.txt',
    "~$.hidden.",
    "a:b|c?.txt",
    "x" * 255,
]


@pytest.mark.parametrize("name", KEPT)
def test_a_name_that_a_person_gave_is_kept(name: str) -> None:
    assert plain_name(name) == name
    assert shown_name(name) == name


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../b/a.txt", "a.txt"),
        ("C:\\b\\a.txt", "a.txt"),
        (" größe.pdf ", "größe.pdf"),
        ("\u3000a.txt\u00a0", "a.txt"),
        ("two\r\nlines.txt", "two lines.txt"),
        ("tab\tand\u2028separator.txt", "tab and separator.txt"),
        ("half \ud83d.txt", "half \ufffd.txt"),
        ("caf\udce9.txt", "caf\ufffd.txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("\u202aC:\\from\\windows.txt", "windows.txt"),
        ("\u2068isolated\u2069.txt", "isolated.txt"),
    ],
)
def test_a_name_is_repaired_where_it_cannot_be_kept(given: str, kept: str) -> None:
    assert plain_name(given) == kept


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is not a name for a file"),
        ("a/", "is not a name for a file"),
        ("..", "is not a name for a file"),
        ("/.", "is not a name for a file"),
        ("\u200b\u00ad\u3000", "is not a name for a file"),
        ("\u202e", "is not a name for a file"),
        ("a\0b", "U+0000"),
        ("a\x1b[2Jb", "U+001B"),
        ("a\x7f", "U+007F"),
        ("a\x9bb", "U+009B"),
        ("x" * 256, "256 characters; it may have 255"),
    ],
)
def test_a_name_that_cannot_be_repaired_is_refused_with_a_reason(name: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason.replace("+", r"\+")) as refused:
        plain_name(name, param="filename")
    assert refused.value.param == "filename"


@given(ANY)
def test_any_name_is_accepted_or_refused_and_an_accepted_one_does_not_change_again(name: str) -> None:
    shown = shown_name(name)
    assert is_text(shown)
    assert shown_name(shown) == shown
    try:
        kept = plain_name(name)
    except InvalidInput:
        return
    assert plain_name(kept) == kept == shown_name(kept)
    assert is_text(kept)
    assert not set(kept) & set("/\\\r\n\t\0")
