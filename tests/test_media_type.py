"""What a file is, by its bytes."""

import pytest

from cluster.media_type import media_type


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (b"%PDF-1.7", "a.txt", "application/pdf"),
        (b"junk\n%PDF-1.4", "a", "application/pdf"),
        (b"<!DOCTYPE html><p>", "a.pdf", "text/html"),
        (b"  <html>", "a.txt", "text/html"),
        (b"<p>a fragment", "a.html", "text/html"),
        (b"<?xml version='1.0'?> <!-- a --> <!-- <b> -->\n<html>", "a.txt", "text/html"),
        (b"<!-- a -->\n" * 300 + b"<p>", "a.txt", "text/plain"),  # each tried to its every end would take for ever
        (b"# Title", "README.md", "text/markdown"),
        (b"# Title", "a.txt", "text/plain"),
        ("äöü".encode("latin-1"), "a.txt", "text/plain"),
        ("text".encode("utf-16"), "a.txt", "text/plain"),
        (b"\x00\x01\x02", "a.txt", "application/octet-stream"),
        (b"\x89PNG\r\n\x1a\n", "a.txt", "image/png"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "a.txt", "image/webp"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "a.txt", "application/octet-stream"),
        (b"PK\x03\x04", "a.docx", "application/zip"),
    ],
)
def test_the_bytes_say_what_a_file_is(data: bytes, name: str, expected: str) -> None:
    assert media_type(data, name=name) == expected
