"""The name of a file is read in every spelling that clients use in a form."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import InvalidInput
from serve_app.edge.forms.content_disposition import parse_disposition

NAME = 'größe "1" 文書.txt'


@pytest.mark.parametrize(
    ("value", "filename"),
    [
        ('filename="a.txt"', "a.txt"),
        ("filename=a.txt", "a.txt"),
        ("filename = a b.txt ", "a b.txt"),
        ('FileName="a;b=c.txt"', "a;b=c.txt"),
        ('filename=""', ""),
        ('filename="größe.txt"', "größe.txt"),
        ('filename="größe %221%22 文書.txt"', NAME),
        ('filename="größe \\"1\\" 文書.txt"', NAME),
        ("filename*=UTF-8''gr%C3%B6%C3%9Fe%20%221%22%20%e6%96%87%E6%9B%B8.txt", NAME),
        ("filename*=utf-8'de'gr%C3%B6%C3%9Fe.txt", "größe.txt"),
        ("filename*=\"utf-8''gr%C3%B6%C3%9Fe.txt\"", "größe.txt"),
        ("filename*=iso-8859-1'de'gr%F6%DFe.txt", "größe.txt"),
        ("filename*=ISO-8859-1''%80%20rates.txt", "€ rates.txt"),
        ("filename=\"=?utf-8?B?Z3I=?=\"; filename*=utf-8''gr%C3%B6%C3%9Fe.txt", "größe.txt"),  # .NET
        ("filename=\"b.txt\"; filename*=koi8-r''%C1.txt", "b.txt"),
        ("filename=\"b.txt\"; filename*=UTF-8''%FF.txt", "b.txt"),
        ('filename="b.txt"; filename*=nonsense', "b.txt"),
        ('filename="two%0D%0alines.txt"', "two\r\nlines.txt"),
        ('filename="100%25.txt"', "100%25.txt"),
        ('filename="a%20b.txt"', "a%20b.txt"),
        ('filename="back\\\\slash.txt"', "back\\slash.txt"),
        ('filename="C:\\new\\a.txt"', "C:\\new\\a.txt"),
        ('filename="ends\\"', "ends\\"),
        ('filename="a.txt"; filename="b.txt"', "a.txt"),
        ("x=y", None),
        ("", None),
    ],
)
def test_a_name_is_read_in_every_spelling(value: str, filename: str | None) -> None:
    names = parse_disposition(f'form-data; name="file"; {value}'.encode())
    assert (names.name, names.filename) == ("file", filename)


@pytest.mark.parametrize(
    ("raw", "filename"),
    [(b"gr\xf6\xdfe.txt", "größe.txt"), (b"\x93x\x94.txt", "“x”.txt"), (b"a\x81", "a\x81")],
)
def test_a_name_that_is_not_utf_8_is_read_as_latin_1(raw: bytes, filename: str) -> None:
    assert parse_disposition(b'form-data; name="file"; filename="' + raw + b'"').filename == filename


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        (b"form-data", "no name"),
        (b'form-data; filename="a"', "no name"),
        (b'form-data; name="\xff"', "UTF-8"),
        (b"form-data; name=file; filename*=koi8-r''%C1", "write it as UTF-8''"),
        (b"form-data; name=file; filename*=UTF-8''%FF", "write it as UTF-8''"),
        (b"form-data; name=file; filename*=a.txt", "write it as UTF-8''"),
    ],
)
def test_an_unreadable_name_is_refused_with_a_remedy(header: bytes, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        parse_disposition(header)


@given(st.binary(max_size=300))
def test_any_header_is_read_or_refused(header: bytes) -> None:
    with suppress(InvalidInput):
        assert parse_disposition(b"form-data; name=x; " + header).name == "x"


def test_the_longest_header_is_read_quickly() -> None:
    """A parser that retries at every position would take seconds for each of these headers."""
    for part in (b';x="', b";" + b" " * 60, b"; a a", b';x="\\', b"; "):
        parse_disposition(b"form-data; name=x" + part * (16 * 1024 // len(part)))
