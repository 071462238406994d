"""Hebrew and Arabic of a PDF in the order in which they are read.

A reader of PDFs takes text for drawn from left to right as it looks, and turns runs from right to left round. Programs that know
nothing of this write the letters in the order of reading: the reader's turn then puts the last letter of each word first. Letters
that only end a word tell the two apart.
"""

import re
import unicodedata
from collections.abc import Sequence

#: Any letter of Hebrew, Arabic, Syriac or their presentation forms.
LETTER = "\u05d0-\u05ea\u0620-\u064a\u066e-\u06d3\u06fa-\u074f\u0750-\u077f\ufb1d-\ufdfb\ufe70-\ufefc"
FOUND = re.compile(f"[{LETTER}]")
MARKS = re.compile("[\u0591-\u05c7\u064b-\u065f\u0670]")
#: Forms of Arabic and Hebrew letters that fonts have, and writers do not.
PRESENTATION_FORMS = re.compile("[\ufb1d-\ufb4f\ufb50-\ufdfb\ufe70-\ufefc]+")
#: Final forms of Hebrew letters; of Arabic teh marbuta and alef maksura; the article al- begins a word.
ENDS = re.compile(f"(?<=[{LETTER}])[ךםןףץةى](?![{LETTER}])|(?<![{LETTER}])ال(?=[{LETTER}]{{2}})")
BEGINS = re.compile(f"(?<![{LETTER}])[ךםןףץةى](?=[{LETTER}])|(?<=[{LETTER}]{{2}})لا(?![{LETTER}])")
NEUTRAL = f"[^{LETTER}A-Za-z0-9\\n\u00c0-\u024f\u0370-\u052f]"
RUN = re.compile(
    f"(?:^{NEUTRAL}*)?[{LETTER}](?:{NEUTRAL}*[{LETTER}])*{NEUTRAL.replace('[^', '[^ ')}*", re.MULTILINE
)


def in_reading_order(paragraphs: Sequence[str]) -> list[str]:
    """The paragraphs of a page, with the letters of each word from first to last."""
    letters = [PRESENTATION_FORMS.sub(_plain, paragraph) for paragraph in paragraphs]
    bare = MARKS.sub("", "\n".join(letters))
    if len(BEGINS.findall(bare)) <= 2 * len(ENDS.findall(bare)):
        return letters
    return [RUN.sub(lambda run: run[0][::-1], paragraph) for paragraph in letters]


def _plain(forms: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", forms[0])
