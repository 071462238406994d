"""A file of an old program is refused with a sentence that says what to do."""

import pytest

from cluster.records import Outcome
from data_jobs.stages.formats.contract import ParseOptions
from data_jobs.stages.parsing.fork_server import parse

START = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)


@pytest.mark.parametrize(
    ("entry", "outcome", "advice"),
    [
        ("WordDocument", Outcome.UNSUPPORTED, "save it as .docx"),
        ("Workbook", Outcome.UNSUPPORTED, "save it as .xlsx"),
        ("Book", Outcome.UNSUPPORTED, "save it as .xlsx"),
        ("PowerPoint Document", Outcome.UNSUPPORTED, "save it as .pptx"),
        ("__properties_version1.0", Outcome.UNSUPPORTED, "save it as .eml"),
        ("EncryptedPackage", Outcome.ENCRYPTED, "remove the protection"),
        ("Thumbs", Outcome.UNSUPPORTED, "save it in a current format"),
    ],
)
def test_the_detail_says_what_to_do(entry: str, outcome: Outcome, advice: str) -> None:
    data = START + entry.encode("utf-16-le").ljust(64, b"\0")
    parsed = parse(data, name="a.doc", max_characters=100, options=ParseOptions(max_pages=1))
    assert parsed["outcome"] is outcome
    assert advice in parsed["detail"]
