"""`make bench-words` counts words that are lost, and not those that are only spelt differently."""

import re

import pytest

from benchmarks.word_counts import missing
from benchmarks.word_files import EXCEPTIONS, PINS


@pytest.mark.parametrize(
    ("theirs", "ours", "lost"),
    [
        ("Herons stand still.", "still; STAND herons", {}),
        ("one one two", "one two", {"one": 1}),
        ("permit-\nted twice", "permitted once", {"twice": 1}),
        ("permit\ufffeted", "permitted", {}),
        ("well-\nknown", "well-known", {}),
        ("permit-\nted", "permit", {"ted": 1}),
        ("o\ufb03ce co\u00adoperate", "office cooperate", {}),
        ("文書を読む", "読む。文書", {"を": 1}),
        ("ภาษา", "ภาษ", {"า": 1}),
        ("ÁëìII", "Áëì", {"áëìii": 1}),
        ("", "anything", {}),
    ],
)
def test_only_absent_words_are_missing(theirs: str, ours: str, lost: dict[str, int]) -> None:
    assert missing(theirs, ours) == lost


def test_every_archive_is_pinned_by_its_hash_and_every_exception_is_a_file_of_one() -> None:
    lines = [line for line in PINS.read_text().splitlines() if not line.startswith("#")]
    pinned = {
        match[1]
        for line in lines
        if (match := re.fullmatch(r"([a-z0-9-]+)==[\w.]+ --hash=sha256:[0-9a-f]{64}", line))
    }
    assert len(pinned) == len(lines)
    assert {name.partition("/")[0] for name in EXCEPTIONS} <= pinned
    assert all(EXCEPTIONS.values())
