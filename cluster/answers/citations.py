"""Find the citations in the text of an answer.

A chat model cites a source by its number in brackets, such as ``[2]`` or ``[1, 3]``. A number that no source
of the answer has is not a citation.

    citations_in("Swifts sleep on the wing [1].", sources)
"""

import re
from collections.abc import Sequence

from cluster.answers.contract import Citation, Source

#: One or more numbers in brackets. Numbers have at most three digits, so ``[2024]`` is no citation.
BRACKETS = re.compile(r"\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]", re.ASCII)
NUMBER = re.compile(r"\d+", re.ASCII)


def citations_in(text: str, sources: Sequence[Source]) -> list[Citation]:
    """Return the citations in the order of the text. ``[1, 3]`` is a citation of two sources."""
    by_number = {source.number: source for source in sources}
    return [
        Citation(source=source, start=found.start(), end=found.end())
        for found in BRACKETS.finditer(text)
        for number in dict.fromkeys(map(int, NUMBER.findall(found.group(1))))
        if (source := by_number.get(number)) is not None
    ]


def without_brackets(text: str) -> str:
    """Return the text with ``(1)`` in place of ``[1]``. A chat model that copies this text cites nothing."""
    return BRACKETS.sub(r"(\1)", text)
